"""The temporal shift against a loop, and its gradient."""

import torch

from afnet.shift import temporal_shift


def shift_by_loops(x: torch.Tensor, frames: int) -> torch.Tensor:
    """The definition, one frame and channel at a time."""
    fold = x.shape[1] // 8
    out = torch.zeros_like(x)
    for row in range(len(x)):
        t = row % frames
        for channel in range(x.shape[1]):
            source = row + 1 if channel < fold else row - 1 if channel < 2 * fold else row
            inside = 0 <= t + (source - row) < frames
            if inside:
                out[row, channel] = x[source, channel]
    return out


def test_shift_is_the_definition_in_both_memory_formats() -> None:
    x = torch.randn(6, 17, 2, 3)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert torch.equal(temporal_shift(x.to(memory_format=layout), 3), shift_by_loops(x, 3))


def test_gradient_of_shift_is_its_transpose() -> None:
    x = torch.randn(4, 8, 1, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: temporal_shift(x, 2), (x,))


def test_one_frame_loses_the_shifted_channels() -> None:
    x = torch.ones(2, 8, 1, 1)
    assert temporal_shift(x, 1)[:, :2].sum() == 0
    assert torch.equal(temporal_shift(x, 1)[:, 2:], x[:, 2:])
