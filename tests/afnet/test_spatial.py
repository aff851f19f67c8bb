"""Cells: one meaning, for which masked and skipped agree at every pixel, borders included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from afnet import AFNet, Progress
from afnet.contract import Selection
from afnet.schedules import cell_ratio_loss
from afnet.spatial import CellBottleneck, CellNavigation, cell_areas, spread
from tests.afnet.test_network import make

FRAMES = 4


def plain_conv(conv: torch.nn.Conv2d, x: Tensor) -> Tensor:
    return functional.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)


def by_definition(function: CellBottleneck, x: Tensor, mask: Tensor) -> Tensor:
    """m * F(m * x) + (1 - m) * F(0), with F written out."""

    def apply(values: Tensor) -> Tensor:
        for conv, norm, last in (
            (function.conv1, function.bn1, False),
            (function.conv2, function.bn2, False),
            (function.conv3, function.bn3, True),
        ):
            values = plain_conv(conv, values)
            values = functional.batch_norm(
                values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
            values = values if last else values.clamp_min(0)
        return values

    return torch.where(mask.bool(), apply(mask * x), apply(torch.zeros_like(x[:1])))


def block(outputs: int = 32, inputs: int = 16) -> CellBottleneck:
    torch.manual_seed(0)
    function = CellBottleneck(inputs, outputs // 4, outputs, groups=2).eval()
    for norm in (function.bn1, function.bn2, function.bn3):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    return function


@given(
    seed=st.integers(0, 2**16),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    side=st.sampled_from([(4, 4), (7, 7), (8, 5), (14, 14)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=30, deadline=None)
def test_kept_pixels_get_what_the_definition_says(
    seed: int, share: float, side: tuple[int, int], dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    function = block().to(dtype)
    x = torch.randn(3, 16, *side, generator=generator, dtype=dtype)
    mask = (torch.rand(3, 1, *side, generator=generator) < share).to(dtype)
    pixels = mask.flatten().nonzero().squeeze(1)
    with torch.no_grad():
        expected = by_definition(function, x, mask).permute(0, 2, 3, 1).reshape(-1, 32)[pixels]
        torch.testing.assert_close(function(x, pixels=pixels), expected, atol=1e-5, rtol=1e-5)


def decided(model: AFNet, seed: int, share: float, videos: int = 2) -> None:
    generator = torch.Generator().manual_seed(seed)
    blocks, grid = len(model.unit_modules()), model.design.grid
    frames = torch.rand(blocks, videos, FRAMES, generator=generator) < 0.6
    cells = torch.rand(blocks, videos, FRAMES, grid, grid, generator=generator) < share
    model.forced = Selection(frames, cells)


def logits(model: AFNet, x: Tensor, execution: str) -> Tensor:
    model.execution = execution  # type: ignore[assignment]
    with torch.no_grad():
        return model(x).logits


def test_all_cells_kept_is_the_frame_mask() -> None:
    plain, spatial = make(), make(spatial=(1, 2, 3))
    weights = plain.state_dict()
    spatial.load_state_dict({**spatial.state_dict(), **weights})
    decided(spatial, 0, 1.1)
    plain.forced = spatial.forced
    x = torch.randn(2, FRAMES, 3, 64, 64)
    expected = logits(plain, x, "masked")
    for execution in ("masked", "skipped"):
        torch.testing.assert_close(logits(spatial, x, execution), expected, atol=1e-5, rtol=1e-5)


def test_areas_are_those_of_the_spread_mask() -> None:
    for height, width, grid in ((56, 56, 7), (16, 8, 7), (4, 4, 7), (5, 9, 4), (82, 82, 2), (92, 46, 14)):
        areas = cell_areas(grid, height, width)
        for cell in range(grid * grid):
            cells = torch.zeros(grid * grid)
            cells[cell] = 1
            assert spread(cells.view(1, grid, grid), height, width).sum() == areas.flatten()[cell]
        assert areas.sum() == height * width


def test_selection_holds_the_cells_of_kept_frames_only() -> None:
    model = make(spatial=(1,))
    decided(model, 0, 0.5)
    output = model(torch.randn(2, FRAMES, 3, 64, 64))
    selection = output.selection
    assert selection.cells is not None and selection.frames is not None and model.forced.frames is not None
    assert selection.cells.shape == (6, 2, FRAMES, 7, 7)
    assert not selection.cells[~model.forced.frames].any()
    assert selection.cells[1:][model.forced.frames[1:]].all()  # stages without cells compute all of a frame


def test_training_reaches_both_navigations_and_each_target_pulls_its_own() -> None:
    torch.manual_seed(0)
    model = make(spatial=(1, 2), keep_bias=1.5).train()
    output = model(torch.randn(4, FRAMES, 3, 64, 64))
    model.loss(output, torch.arange(4), Progress(54, 55)).backward(retain_graph=True)
    assert all(p.grad is not None for navigation in model.navigations for p in navigation.parameters())
    model.zero_grad()
    cell_ratio_loss(output.extras["cells"], output.extras["cell_gates"], 0.0).backward()
    navigations = [module for module in model.navigations if isinstance(module, CellNavigation)]
    assert len(navigations) == 3
    for navigation in navigations:
        drop, keep = navigation.score.bias.grad.tolist()  # type: ignore[union-attr]
        assert keep > 0 > drop, "a step down the gradient keeps fewer cells"


def test_cell_loss_counts_kept_frames_only() -> None:
    cells = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 2, 2)
    assert cell_ratio_loss(cells, torch.tensor([[[1.0, 0.0]]]), 0.5).item() == pytest.approx(0.25)
    assert cell_ratio_loss(cells, torch.tensor([[[1.0, 1.0]]]), 0.5).item() == pytest.approx(0.0)
    assert cell_ratio_loss(cells, torch.zeros(1, 1, 2), 0.5).item() == 0.0


def test_mobilenet_has_no_cells() -> None:
    with pytest.raises(ValueError, match="squeeze-excites see whole frames"):
        AFNet(backbone="mobilenetv3", frames=2, classes=3, spatial=(1,))
