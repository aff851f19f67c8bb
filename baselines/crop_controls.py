"""Controls of crop samplers: where to look without learning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from afnet.contract import Output, average_frames, grouped_parameters
from baselines.cropper import CropSampler


class FixedCrop(CropSampler):
    """A recogniser on crops whose place no network decides."""

    def corners(self, clips: Tensor) -> Tensor:
        """(N, T, 2) or (N, 2), (x, y) in 0..1 of the room there is."""
        raise NotImplementedError

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K), selection.crops (N, T, 4)."""
        self.check_clips(clips)
        boxes = self.boxes(self.corners(clips), clips)
        logits = self.focus(self.seen(clips, boxes), self.frames)
        return Output(average_frames(logits, self.frames), self.looked(boxes, clips))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.focus.classifier])


class CentreCrop(FixedCrop):
    """The middle of every frame."""

    def corners(self, clips: Tensor) -> Tensor:
        return clips.new_full((len(clips), 2), 0.5)


class RandomCrop(FixedCrop):
    """A place drawn anew for each clip, the same for all its frames."""

    def corners(self, clips: Tensor) -> Tensor:
        return torch.rand(len(clips), 2, device=clips.device, dtype=clips.dtype)


class OracleCrop(FixedCrop):
    """The place that the answer key names: the middle of a clip's informative regions, the same for all its frames.

    An upper bound for samplers of one crop a clip, where the data set knows its informative regions.
    """

    wants_answers = True

    def corners(self, clips: Tensor) -> Tensor:
        answers = self.answer_key()
        regions, present = answers.regions, answers.informative.to(clips.dtype)[..., None]
        centres = (regions[..., :2] + regions[..., 2:]) / 2
        middle = (centres * present).sum(dim=1) / present.sum(dim=1).clamp_min(1)  # (N, 2)
        room = clips.new_tensor([clips.shape[-1] - self.patch, clips.shape[-2] - self.patch]).clamp_min(1)
        return ((middle - self.patch / 2) / room).clamp(0, 1)
