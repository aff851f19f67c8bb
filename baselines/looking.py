"""What samplers do to clips: smaller pictures, some of the frames, a part of each.

N videos, T frames; frames travel as (N*T, C, H, W), as everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resized(frames: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B, C, size, size), bilinear with antialiasing; unchanged where they have that size."""
    if frames.shape[-2:] == (size, size):
        return frames
    # In single precision: half precision has no such kernel on every device, and few bits for places.
    exact = frames.to(torch.promote_types(frames.dtype, torch.float32))
    small = functional.interpolate(exact, size=(size, size), mode="bilinear", antialias=True)
    return small.to(frames.dtype)


def spread_frames(frames: int, wanted: int) -> Tensor:
    """(wanted,) int64: the middles of `wanted` equal segments of `frames` positions, ascending, none twice."""
    return torch.tensor([(2 * i + 1) * frames // (2 * wanted) for i in range(wanted)])


def random_frames(videos: int, frames: int, wanted: int, device: torch.device) -> Tensor:
    """(N, wanted) int64 ascending: one frame drawn from each of `wanted` segments, as TSN does."""
    edges = torch.tensor([i * frames // wanted for i in range(wanted + 1)], device=device)
    lengths = edges.diff()
    drawn = (torch.rand(videos, wanted, device=device) * lengths).long()
    return edges[:-1] + torch.minimum(drawn, lengths - 1)


def best_frames(scores: Tensor, wanted: int) -> Tensor:
    """(N, T) scores -> (N, wanted) int64 ascending, those with the largest; of equal ones the earlier."""
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :wanted].sort(dim=1).values


def take_frames(clips: Tensor, chosen: Tensor) -> Tensor:
    """(N, T, ...) and (N, k) indices -> (N*k, ...)."""
    rows = chosen + clips.shape[1] * torch.arange(len(clips), device=clips.device)[:, None]
    return clips.flatten(0, 1).index_select(0, rows.flatten())


def as_mask(chosen: Tensor, frames: int) -> Tensor:
    """(N, k) indices -> (N, T) bool."""
    return (chosen[:, :, None] == torch.arange(frames, device=chosen.device)).any(dim=1)


def as_indices(mask: Tensor) -> Tensor:
    """(N, T) bool with as many True in each row -> (N, k) int64 ascending.

    Raises:
        ValueError: when the rows differ in their numbers.
    """
    counts = mask.sum(dim=1)
    if not bool((counts == counts[0]).all()):
        raise ValueError(f"these videos keep {sorted(set(counts.tolist()))} frames; expected as many in each")
    return best_frames(mask.float(), int(counts[0]))


def others(chosen: Tensor, frames: int) -> Tensor:
    """(N, k) indices -> (N, T - k) int64 ascending, those of the T that are not among them."""
    return best_frames(-as_mask(chosen, frames).float(), frames - chosen.shape[1])


def crop(frames: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The part of each frame in its box, resampled to size x size; bilinear, differentiable in the boxes.

    A box of size x size at whole pixels is copied exactly.

    Args:
        frames: (B, C, H, W).
        boxes: (B, 4), left, top, right, bottom in pixels.

    Returns:
        (B, C, size, size).
    """
    exact = torch.promote_types(frames.dtype, torch.float32)  # half precision has too few bits for places
    height, width = frames.shape[-2:]
    boxes = boxes.to(exact)
    scale = boxes.new_tensor([width, height])
    low, high = boxes[:, :2] / scale, boxes[:, 2:] / scale  # (B, 2) as (x, y), 0..1
    theta = torch.zeros(len(frames), 2, 3, dtype=exact, device=frames.device)
    theta[:, 0, 0], theta[:, 1, 1] = (high - low).unbind(1)
    theta[:, :, 2] = low + high - 1
    grid = functional.affine_grid(theta, [len(frames), frames.shape[1], size, size], align_corners=False)
    return functional.grid_sample(frames.to(exact), grid, align_corners=False, padding_mode="border").to(frames.dtype)


def boxes_at(corners: Tensor, side: float, height: int, width: int) -> Tensor:
    """Square boxes by relative position: (..., 2) corners (x, y) in 0..1 of the room there is -> (..., 4) pixels.

    At least in single precision.
    """
    corners = corners.to(torch.promote_types(corners.dtype, torch.float32))
    room = corners.new_tensor([width - side, height - side])
    low = corners * room
    return torch.cat([low, low + side], dim=-1)
