"""Controls: frames chosen without learning. A learned sampler must beat them at equal multiply-adds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from afnet.contract import Output
from baselines.looking import best_frames, random_frames, spread_frames
from baselines.sampler import Choice, FrameSampler


class Uniform(FrameSampler):
    """The middles of k equal segments; while training, one frame drawn from each."""

    def choose(self, clips: Tensor) -> Choice:
        if self.training:
            return Choice(random_frames(len(clips), self.frames, self.kept, clips.device))
        return Choice(spread_frames(self.frames, self.kept).to(clips.device).expand(len(clips), -1))


class Random(FrameSampler):
    """k frames drawn anew for each clip, all sets alike."""

    def choose(self, clips: Tensor) -> Choice:
        return Choice(best_frames(torch.rand(clips.shape[:2], device=clips.device), self.kept))


class Motion(FrameSampler):
    """The k frames that differ most from the one before them, by the mean absolute difference of pixels.

    The first frame counts as unlike as the second. The differences are no multiply-adds; their time is timed.
    """

    def choose(self, clips: Tensor) -> Choice:
        if self.frames == 1:
            return Choice(torch.zeros(len(clips), 1, dtype=torch.int64, device=clips.device))
        change = (clips[:, 1:] - clips[:, :-1]).abs().mean(dim=(2, 3, 4))  # (N, T-1)
        return Choice(best_frames(torch.cat([change[:, :1], change], dim=1), self.kept))


class OracleFrames(FrameSampler):
    """Frames chosen by the answer key: of the informative ones as many as k, evenly; others only where those run out.

    An upper bound for samplers of frames, where the data set knows its informative frames.
    """

    wants_answers = True

    def choose(self, clips: Tensor) -> Choice:
        informative = self.answer_key().informative
        rank = informative.cumsum(dim=1) - 1  # (N, T), of each informative frame among them
        count = informative.sum(dim=1, keepdim=True)
        # An informative frame is wanted where a middle of k segments of their sequence falls on it.
        wanted = (2 * torch.arange(self.kept, device=clips.device) + 1) * count // (2 * self.kept)  # (N, k)
        middle = informative & (rank[:, :, None] == wanted[:, None, :]).any(dim=2)
        position = torch.arange(self.frames, device=clips.device)
        centre = (informative * position).sum(dim=1, keepdim=True) / count.clamp_min(1)
        distance = (position - centre).abs() / (2 * self.frames)
        return Choice(best_frames(2.0 * middle + informative - distance, self.kept))


class BestFrame(Uniform):
    """The frame whose prediction is the most confident, alone. Every frame must be computed to know which it is.

    `keep` is the number of frames it looks at: the middles of as many segments. None sees another (no shift).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, shift=False)

    def forward(self, clips: Tensor) -> Output:
        output = super().forward(clips)
        if self.training or self.execution == "dense":
            return output
        logits = output.extras["frame_logits"]  # (N, k, K)
        best = logits.softmax(dim=2).amax(dim=2).argmax(dim=1)
        return Output(logits[torch.arange(len(logits), device=logits.device), best], output.selection, output.extras)
