"""What frame samplers have in common: some frames of a clip go through a network, the others do not.

    clips -> choose (the policy) -> k of T frames -> recogniser -> mean of their logits

skipped: the chosen frames alone. masked: the others too, apart from them, thrown away. dense: all frames, whatever is
chosen. Where the recogniser shifts channels in time, it does so among the frames it is given together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from afnet.contract import Output, Selection, VideoModel, average_frames, grouped_parameters
from baselines.backbones import make_backbone
from baselines.contract import make_classifier
from baselines.looking import as_indices, as_mask, others, resized, take_frames


class Recogniser(nn.Module):
    """A network on each frame with a classifier: TSN, or TSM where it shifts.

    Args:
        backbone: a name in baselines.backbones.BACKBONES.
        frames: that it is given together, where it shifts; 0 where it does not.
    """

    def __init__(self, backbone: str, *, frames: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.shifts = frames > 0
        self.backbone = make_backbone(backbone, frames=frames)
        self.dropout = nn.Dropout(dropout)
        self.classifier = make_classifier(self.backbone.features, classes)

    def forward(self, frames: Tensor, together: int) -> Tensor:
        """(N*n, 3, H, W) frames, n = `together` of each video -> (N*n, K)."""
        return self.classifier(self.dropout(self.features(frames, together)))

    def features(self, frames: Tensor, together: int) -> Tensor:
        """The same frames -> (N*n, D), what the classifier sees."""
        self._shift_among(together)
        return self.backbone(frames)

    def maps(self, frames: Tensor, together: int) -> Tensor:
        """The same frames -> (N*n, C, h, w), the backbone's last maps."""
        self._shift_among(together)
        return self.backbone.maps(frames)

    def _shift_among(self, together: int) -> None:
        if self.shifts:
            self.backbone.set_frames(together)


class Glance(nn.Module):
    """A cheap network on small pictures of all frames.

    Args:
        backbone: a name in baselines.backbones.BACKBONES.
        size: pixels a side that frames are resized to.
        frames: T where it shifts channels in time, 0 where not.
    """

    def __init__(self, backbone: str, *, size: int, frames: int) -> None:
        super().__init__()
        self.size = size
        self.backbone = make_backbone(backbone, frames=frames)
        self.features = self.backbone.features

    def forward(self, frames: Tensor) -> Tensor:
        """(N*T, 3, H, W) -> (N*T, features)."""
        return self.backbone(resized(frames, self.size))


@dataclass(frozen=True)
class Choice:
    """What a policy chose.

    Attributes:
        frames: (N, k) int64, ascending, none twice.
        extras: for the loss.
    """

    frames: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)


class FrameSampler(VideoModel):
    """A recogniser on k of T frames; subclasses choose them.

    Args:
        backbone: of the recogniser.
        frames: T.
        classes: K.
        keep: k.
        shift: whether the recogniser shifts channels in time among the k frames.
        dropout: before the classifier.

    Attributes:
        budget: k in evaluation, in place of `keep`; None leaves it.

    Raises:
        ValueError: when k is not in 1..T.
    """

    def __init__(
        self, *, backbone: str, frames: int, classes: int, keep: int, shift: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        self.keep = keep
        self.budget: int | None = None
        self._check_kept(keep)
        self.recogniser = Recogniser(backbone, frames=keep if shift else 0, classes=classes, dropout=dropout)

    def _check_kept(self, kept: object) -> None:
        if not isinstance(kept, int) or not 1 <= kept <= self.frames:
            raise ValueError(f"{kept!r} frames are to be kept; expected a number from 1 to {self.frames}")

    @property
    def kept(self) -> int:
        """k, as things stand."""
        return self.keep if self.budget is None or self.training else self.budget

    def choose(self, clips: Tensor) -> Choice:
        """The frames to look at, of clips (N, T, 3, H, W)."""
        raise NotImplementedError

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W), sides of at least 32 -> logits (N, K), selection.frames (1, N, T)."""
        self.check_clips(clips, smallest=32)
        self._check_kept(self.kept)
        choice = self.choose(clips)
        if self.forced.frames is not None:
            choice = Choice(as_indices(self.forced.frames[0]), choice.extras)
        selection = Selection(frames=as_mask(choice.frames, self.frames)[None])
        if self.execution == "dense" and not self.training:
            logits = self.recogniser(clips.flatten(0, 1), self.frames)
            everything = clips.new_ones(1, *clips.shape[:2], dtype=torch.bool)
            return Output(average_frames(logits, self.frames), Selection(frames=everything), choice.extras)
        logits = self.recognise(clips, choice.frames)
        if self.execution == "masked" and not self.training and choice.frames.shape[1] < self.frames:
            self.recognise(clips, others(choice.frames, self.frames))
        return Output(logits.mean(dim=1), selection, {"frame_logits": logits, **choice.extras})

    def recognise(self, clips: Tensor, chosen: Tensor) -> Tensor:
        """(N, T, 3, H, W) and (N, k) indices -> (N, k, K) logits of frames."""
        wanted = chosen.shape[1]
        return self.recogniser(take_frames(clips, chosen), wanted).unflatten(0, (-1, wanted))

    def unit_modules(self) -> tuple[str, ...]:
        return ("recogniser",)

    def expected_units(self, height: int, width: int, ratio: float) -> tuple[float, ...]:
        """The frames that it keeps, whatever the ratio."""
        return (self.kept,)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.recogniser.classifier])
