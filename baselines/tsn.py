"""TSN: every frame through a plain network, the mean of the frame logits.

Wang et al., "Temporal Segment Networks", ECCV 2016, with average consensus. Blind to the order of frames.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from afnet.contract import Output, VideoModel, average_frames, grouped_parameters
from baselines.backbones import make_backbone
from baselines.contract import SIDE_MULTIPLE, make_classifier


class TSN(VideoModel):
    """A backbone on each frame, averaged; computes everything, so all executions are the same.

    Args:
        backbone: a name in baselines.backbones.BACKBONES.
        frames: T.
        classes: K.
        dropout: before the classifier.
    """

    shift = False
    any_frames = True

    def __init__(self, *, backbone: str = "resnet50", frames: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__(frames=frames, classes=classes)
        self.backbone = make_backbone(backbone, frames=frames if self.shift else 0)
        self.dropout = nn.Dropout(dropout)
        self.classifier = make_classifier(self.backbone.features, classes)

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W), sides multiples of 32 -> logits (N, K)."""
        self.check_clips(clips, SIDE_MULTIPLE)
        features = self.backbone(clips.flatten(0, 1))  # (N*T, C)
        return Output(average_frames(self.classifier(self.dropout(features)), self.frames))

    def set_frames(self, frames: int) -> None:
        super().set_frames(frames)
        self.backbone.set_frames(frames)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.classifier])
