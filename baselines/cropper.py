"""What crop samplers have in common: a network on a part of each frame, its place given as (x, y) of the room there is.

skipped and masked are the same: what lies outside a crop is never computed. dense sees whole frames, at full size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from afnet.contract import Selection, VideoModel
from baselines.looking import boxes_at, crop, resized
from baselines.sampler import Recogniser


class CropSampler(VideoModel):
    """A recogniser on square crops.

    Args:
        backbone: of the recogniser.
        frames: T.
        classes: K.
        patch: pixels a side of the crops.
        shift: whether the recogniser shifts channels in time.
        dropout: before the classifier.
    """

    def __init__(
        self, *, backbone: str, frames: int, classes: int, patch: int, shift: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        self.patch = patch
        self.focus = Recogniser(backbone, frames=frames if shift else 0, classes=classes, dropout=dropout)

    def check_clips(self, clips: Tensor, multiple: int = 1, smallest: int = 32) -> None:
        """As VideoModel's; ValueError too where a crop would be larger than the frames."""
        super().check_clips(clips, multiple, smallest)
        if min(clips.shape[-2:]) < self.patch:
            raise ValueError(
                f"clips are {clips.shape[-2]}x{clips.shape[-1]} pixels, smaller than the crop of {self.patch}; "
                "expected frames at least as large as the crop"
            )

    def boxes(self, corners: Tensor, clips: Tensor) -> Tensor:
        """(N, T, 2) or (N, 2) corners in 0..1 -> (N, T, 4) boxes in pixels; forced ones where there are."""
        if self.forced.crops is not None:
            return self.forced.crops
        if corners.ndim == 2:
            corners = corners[:, None].expand(-1, clips.shape[1], -1)
        return boxes_at(corners, self.patch, *clips.shape[-2:])

    def seen(self, clips: Tensor, boxes: Tensor) -> Tensor:
        """(N*T, 3, P, P): the crops, or the whole frames where the execution is dense."""
        frames = clips.flatten(0, 1)
        if self.execution == "dense" and not self.training:
            return frames
        return crop(frames, boxes.flatten(0, 1), self.patch)

    def looked(self, boxes: Tensor, clips: Tensor) -> Selection:
        """What `seen` showed."""
        if self.execution == "dense" and not self.training:
            height, width = clips.shape[-2:]
            boxes = boxes.new_tensor([0, 0, width, height]).expand_as(boxes)
        return Selection(crops=boxes.detach())


class GridPolicy(nn.Module):
    """Features of a glance's map for a policy: 1x1 convolution to a few channels, all places into one vector.

    Args:
        channels: of the map, all frames' together where the policy sees them at once.
        cells: places of the map.
        width: channels after the 1x1 convolution.
        hidden: length of the vector.
    """

    def __init__(self, channels: int, cells: int, *, width: int = 64, hidden: int = 1024) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.expand = nn.Linear(width * cells, hidden)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, hidden)."""
        features = torch.tanh(self.bn(self.squeeze(maps)))
        return torch.tanh(self.norm(self.expand(features.flatten(1))))


class FrameMLP(nn.Module):
    """FrameExit's layer on the features of each frame, before the maximum over frames."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(features, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, width)."""
        return torch.relu(self.norm(self.expand(features.flatten(0, 1)))).unflatten(0, features.shape[:2])


class PooledHead(nn.Module):
    """FrameExit's and AdaFocus's classifier: a layer on each frame, running maximum, one classifier a step."""

    def __init__(self, features: int, steps: int, classes: int, *, width: int = 4096, dropout: float = 0.5) -> None:
        super().__init__()
        self.mlp = FrameMLP(features, width)
        self.dropout = nn.Dropout(dropout)
        self.steps = nn.ModuleList(nn.Linear(width, classes) for _ in range(steps))

    def running(self, features: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, width), the largest so far; in evaluation (N, 1, width), of all frames."""
        z = self.mlp(features)
        return z.cummax(dim=1).values if self.training else z.amax(dim=1, keepdim=True)

    def classify(self, running: Tensor) -> Tensor:
        """(N, T, width) -> (N, T, K), in training."""
        running = self.dropout(running)
        return torch.stack([step(running[:, t]) for t, step in enumerate(self.steps)], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, C) -> (N, T, K) in training, (N, 1, K), the last step alone, in evaluation."""
        running = self.running(features)
        return self.classify(running) if self.training else self.steps[-1](running[:, 0])[:, None]


def glimpse(clips: Tensor, wanted: Tensor, size: int) -> Tensor:
    """(N, T, 3, H, W) and (t,) positions -> (N*t, 3, size, size)."""
    return resized(clips.index_select(1, wanted).flatten(0, 1), size)
