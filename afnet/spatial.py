"""Spatial redundancy reduction: which cells of a kept frame the focal branch computes.

The paper extends its selection to space and shows a 7x7 grid of cells on each kept frame, but released no
code for it; this is this project's own version in that spirit. The nearest published relative is SAR, whose cell scores
are made the same way: a 3x3 convolution on cheap features, an average over each cell, two logits, hard Gumbel-softmax.

The mask m has one value per pixel of the focal map: frame's gate times cell's gate, cells spread over the map by
nearest neighbour. Its meaning, for a block with residual function F and zero response F(0):

    out = act(shortcut(x) + m * F(m * shift(x)) + (1 - m) * F(0))

A dropped pixel is zero for F and gets what a dropped frame gets; a kept pixel beside a dropped cell sees there what it
would see in a dropped frame. With all cells kept this is the frame mask's definition. Since F is 1x1, 3x3, 1x1, every
convolution is needed at kept pixels only: the 3x3 reads, of dropped pixels, one constant vector.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.blocks import Bottleneck, FocalBlock

GRID = 7
KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# False times what plain torch takes where the kernel could serve.
use_kernel = True


class CellNavigation(nn.Module):
    """Scores of dropping and keeping each cell of each frame.

    3x3 convolution to a few channels, batch-norm, ReLU -> average over each cell -> 1x1 convolution with a bias that
    starts at keep.
    """

    def __init__(self, channels: int, *, hidden: int = 8, grid: int = GRID) -> None:
        super().__init__()
        self.grid = grid
        self.squeeze = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(hidden)
        self.score = nn.Conv2d(hidden, 2, 1)

    def start(self, keep_bias: float) -> None:
        """Begin by keeping: drop 1, keep `keep_bias`."""
        assert self.score.bias is not None
        with torch.no_grad():
            self.score.bias.copy_(torch.tensor([1.0, keep_bias]))

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) -> (N*T, grid, grid, 2) logits of (drop, keep)."""
        features = functional.relu(self.bn(self.squeeze(x)))
        return self.score(functional.adaptive_avg_pool2d(features, self.grid)).permute(0, 2, 3, 1)


def spread(cells: Tensor, height: int, width: int) -> Tensor:
    """(B, grid, grid) values of cells -> (B, 1, H, W) of pixels: pixel i of a side belongs to cell i * grid // side.

    Whole numbers decide, as in cell_areas and in tiles; torch's nearest neighbour rounds its scale and differs at some
    sizes.
    """
    grid = cells.shape[-1]
    rows, columns = (torch.arange(side, device=cells.device) * grid // side for side in (height, width))
    return cells.index_select(1, rows).index_select(2, columns)[:, None]


def cell_areas(grid: int, height: int, width: int) -> Tensor:
    """(grid, grid) int64 pixels that each cell has in a map of this size; they differ where grid does not divide it."""
    rows, columns = (torch.bincount(torch.arange(side) * grid // side, minlength=grid) for side in (height, width))
    return rows[:, None] * columns[None, :]


class CellBottleneck(Bottleneck):
    """A bottleneck of stride 1 that can be computed at some pixels only."""

    def forward(self, x: Tensor, *, pixels: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W); with pixels, (P,) int64 indices into B*H*W -> (P, D), F(m * x) at those pixels.

        m is 1 at the pixels and 0 elsewhere.
        """
        if pixels is None:
            return super().forward(x)
        _, _, height, width = x.shape
        rows = _rows_of(x).index_select(0, pixels)  # (P, C)
        rows = functional.relu_(_normalised(self.bn1, _pointwise(self.conv1, rows)))
        # (1, M), what a zero gives; not in place, it may be the bias itself.
        outside = functional.relu(_normalised(self.bn1, bias_of(self.conv1)[None]))
        rows = gathered_3x3(self.conv2, rows, outside, pixels, (len(x), height, width))
        rows = functional.relu_(_normalised(self.bn2, rows))
        return _normalised(self.bn3, _pointwise(self.conv3, rows))


def _pointwise(conv: nn.Conv2d, rows: Tensor) -> Tensor:
    """A 1x1 convolution of (P, C) rows: one matrix product a group."""
    weights = conv.weight.flatten(1).chunk(conv.groups)  # groups x (D / g, C / g)
    biases = [None] * conv.groups if conv.bias is None else conv.bias.chunk(conv.groups)
    parts = zip(rows.chunk(conv.groups, dim=1), weights, biases, strict=True)
    return torch.cat([functional.linear(part, weight, bias) for part, weight, bias in parts], dim=1)


def bias_of(conv: nn.Conv2d) -> Tensor:
    """(D,) what the convolution gives on zero input."""
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def _normalised(norm: nn.Module, rows: Tensor) -> Tensor:
    """Batch-norm of (P, C) rows by its running statistics; nothing where it was folded into the convolution."""
    if not isinstance(norm, nn.BatchNorm2d):
        return rows
    return functional.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def kernel_serves(conv: nn.Conv2d, rows: Tensor) -> bool:
    """Whether afnet.triton_cells can compute this: on CUDA, in one dtype, without gradient, where triton is there."""
    return use_kernel and rows.is_cuda and suits_kernel(conv, rows) and _triton_is_there()


def suits_kernel(conv: nn.Conv2d, rows: Tensor) -> bool:
    """Whether dtypes and gradients allow it. Under autocast weights and rows differ."""
    return rows.dtype in KERNEL_DTYPES and conv.weight.dtype == rows.dtype and not torch.is_grad_enabled()


@cache
def _triton_is_there() -> bool:
    return importlib.util.find_spec("triton") is not None


def gathered_3x3(
    conv: nn.Conv2d,
    rows: Tensor,
    outside: Tensor,
    pixels: Tensor,
    maps: tuple[int, int, int],
    *,
    relu: bool = False,
) -> Tensor:
    """A 3x3 convolution, padding 1, at the kept pixels: (P, M) -> (P, D).

    Args:
        rows: its input there.
        outside: (1, M), its input at dropped pixels.
        pixels: (P,) int64, where the rows are in B*H*W; none twice.
        maps: (B, H, W).
        relu: whether one follows.
    """
    _, height, width = maps
    frame, place = pixels // (height * width), pixels % (height * width)
    centres = (frame * (height + 2) + place // width + 1) * (width + 2) + place % width + 1  # (P,) in padded maps
    if kernel_serves(conv, rows):
        from afnet.triton_cells import conv_3x3

        return conv_3x3(rows, outside, conv.weight, conv.bias, centres, list(maps), conv.groups, relu)
    out = _conv_3x3(conv, rows, outside, centres, maps)
    return functional.relu_(out) if relu else out


def _conv_3x3(conv: nn.Conv2d, rows: Tensor, outside: Tensor, centres: Tensor, maps: tuple[int, int, int]) -> Tensor:
    """The rows are laid into maps with a border of zeros (the padding) and `outside` at dropped pixels, and the nine
    neighbours of each kept pixel are gathered from them.
    """
    frames, height, width = maps
    across, groups = width + 2, conv.groups
    steps = torch.arange(-1, 2, device=rows.device)
    neighbours = centres[:, None] + (steps[:, None] * across + steps).flatten()  # (P, 9)
    weights = conv.weight.permute(0, 2, 3, 1).flatten(1).chunk(groups)  # groups x (D / g, 9 M / g)
    biases = [None] * groups if conv.bias is None else conv.bias.chunk(groups)
    results = []
    for part, constant, weight, bias in zip(
        rows.chunk(groups, dim=1), outside.chunk(groups, dim=1), weights, biases, strict=True
    ):
        board = rows.new_zeros(frames, height + 2, across, part.shape[1])
        board[:, 1:-1, 1:-1] = constant
        board = board.view(-1, part.shape[1]).index_copy_(0, centres, part)
        columns = board.index_select(0, neighbours.flatten()).view(len(rows), 9 * part.shape[1])
        results.append(functional.linear(columns, weight, bias))
    return torch.cat(results, dim=1)


class SpatialFocalBlock(FocalBlock):
    """A focal block with a mask per pixel instead of one per frame; the module's text says what the mask means."""

    residual: CellBottleneck

    def masked_cells(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N*T, C, H, W), mask (N*T, 1, H, W) float in {0, 1} -> (N*T, D, H, W)."""
        inside = self.shifted(x) * mask
        if self.training:
            # The response comes from the same batch statistics as the rest: a zero frame joins the batch.
            out, response = self.residual(torch.cat([inside, torch.zeros_like(inside[:1])])).split([len(x), 1])
        else:
            out, response = self.residual(inside), self.zero_response(self.residual, x)
        return self.finish(mask * out + (1 - mask) * response + self.shortcut(x))

    def skipped_cells(self, x: Tensor, cells: Tensor) -> Tensor:
        """x (N*T, C, H, W), cells (N*T, grid, grid) in {0, 1} -> (N*T, D, H, W), equal to masked_cells."""
        base = self.shortcut(x)
        out = (base + self.zero_response(self.residual, x)).contiguous(memory_format=torch.channels_last)
        pixels = spread(cells, *x.shape[-2:]).flatten().nonzero().squeeze(1)
        if len(pixels):
            rows = self.residual(self.shifted(x), pixels=pixels).add_(_rows_of(base).index_select(0, pixels))
            _rows_of(out).index_copy_(0, pixels, rows)
        return self.finish(out)


def _rows_of(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B*H*W, C), a view where x is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
