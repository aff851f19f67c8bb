"""FrameExit: frame after frame until a gate is satisfied.

Ghodrati et al., "FrameExit: Conditional Early Exiting for Efficient Video Recognition", CVPR 2021; code
Qualcomm-AI-research/FrameExit.

Faithful: frames come in bisecting order (the middle first, then the ends, then between); features of a frame, one layer
of an MLP, running maximum, a classifier a step; a gate after each frame but the last sees the maximum before and after
it; gates learn to open where the step's loss is small enough for its time (section 3.3: loss <= beta * exp(t / 2)).

Different: the first frame has a gate like the others where the released code has a confidence threshold, with zeros as
the maximum before it; classifiers and gates learn in one run, gates on detached features.

skipped drops the videos that are done from the batch after each step (the released code exits at batch 1). masked
computes every step for all of them and answers with the one at which a gate opened; dense answers with the last. The
network sees frames one by one, so it cannot tell their order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Output, Progress, Selection, VideoModel, grouped_parameters
from baselines.backbones import make_backbone
from baselines.cropper import FrameMLP
from baselines.losses import each_step


class FrameExit(VideoModel):
    """A network, a running maximum, a classifier and a gate a step.

    Args:
        backbone: its network.
        frames: T.
        classes: K.
        width: of the MLP.
        gate_width: of the gates' hidden layers.
        beta: how much loss a step may have for its gate to open: the larger, the earlier.
        dropout: before the classifiers.

    Attributes:
        threshold: probability at which a gate opens, in evaluation.
    """

    def __init__(
        self,
        *,
        backbone: str = "resnet50",
        frames: int,
        classes: int,
        width: int = 4096,
        gate_width: int = 64,
        beta: float = 1e-3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        self.beta, self.threshold = beta, 0.5
        self.backbone = make_backbone(backbone)
        self.width = width
        self.mlp = FrameMLP(self.backbone.features, width)
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleList(nn.Linear(width, classes) for _ in range(frames))
        self.gates = nn.ModuleList(Gate(width, gate_width) for _ in range(frames - 1))
        self.order = bisecting(frames)

    def features(self, clips: Tensor) -> Tensor:
        """(N, t, 3, H, W) -> (N, t, width)."""
        return self.mlp(self.backbone(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]))

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K), selection.exit_step (N,) in 1..T and frames (1, N, T)."""
        self.check_clips(clips, smallest=32)
        if self.execution == "skipped" and not self.training:
            return self._one_by_one(clips)
        z = self.features(clips[:, self.order])  # in the order of looking
        running = z.cummax(dim=1).values
        logits = torch.stack([head(self.dropout(running[:, t])) for t, head in enumerate(self.classifiers)], dim=1)
        opened = self._opened(running)
        if self.training:
            return Output(logits[:, -1], extras={"steps": logits, "gates": opened})
        last = torch.full((len(clips),), self.frames, device=clips.device)
        steps = last if self.execution == "dense" else self._exit_step(opened)
        return Output(logits[torch.arange(len(clips), device=clips.device), steps - 1], self._selection(steps))

    def _selection(self, steps: Tensor) -> Selection:
        """Of videos that answer after (N,) steps."""
        order = torch.tensor(self.order, device=steps.device)
        looked = torch.arange(self.frames, device=steps.device) < steps[:, None]  # (N, T) in the order of looking
        frames = torch.zeros_like(looked).scatter_(1, order.expand_as(looked), looked)
        return Selection(frames=frames[None], exit_step=steps)

    def _opened(self, running: Tensor) -> Tensor:
        """(N, T, width) maxima -> (N, T - 1) logits of the gates."""
        before = torch.cat([torch.zeros_like(running[:, :1]), running[:, :-1]], dim=1).detach()
        parts = [gate(running[:, t].detach(), before[:, t]) for t, gate in enumerate(self.gates)]
        return torch.stack(parts, dim=1) if parts else running.new_zeros(len(running), 0)

    def _exit_step(self, gates: Tensor) -> Tensor:
        """(N, T - 1) logits -> (N,) int64, the first step whose gate opens, T where none does."""
        if self.forced.exit_step is not None:
            return self.forced.exit_step
        opened = torch.cat([gates.sigmoid() >= self.threshold, gates.new_ones(len(gates), 1, dtype=torch.bool)], dim=1)
        return opened.int().argmax(dim=1) + 1

    def _one_by_one(self, clips: Tensor) -> Output:
        videos = len(clips)
        active = torch.arange(videos, device=clips.device)
        best = clips.new_zeros(videos, self.width)
        logits = clips.new_zeros(videos, self.classes)
        steps = torch.full((videos,), self.frames, device=clips.device)
        for t, frame in enumerate(self.order):
            before = best
            best = torch.maximum(best, self.features(clips[active, frame, None])[:, 0])
            done = self._done(t, best, before, active)
            if len(done) and bool(done.any()):
                logits[active[done]] = self.classifiers[t](best[done]).to(logits.dtype)
                steps[active[done]] = t + 1
                active, best = active[~done], best[~done]
            if not len(active):
                break
        return Output(logits, self._selection(steps))

    def _done(self, step: int, best: Tensor, before: Tensor, active: Tensor) -> Tensor:
        """(n,) bool, which of the active videos answer after this step."""
        if step == self.frames - 1:
            return torch.ones(len(active), dtype=torch.bool, device=best.device)
        # Also where the answer is forced: a gate is work.
        opened = self.gates[step](best, before).sigmoid() >= self.threshold
        return opened if self.forced.exit_step is None else self.forced.exit_step[active] == step + 1

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropy of every step, and of every gate with whether its step was good enough for its time."""
        steps, gates = output.extras["steps"], output.extras["gates"]
        loss = each_step(steps, labels)
        if not gates.shape[1]:
            return loss
        with torch.no_grad():
            index = labels.repeat_interleave(self.frames)
            each = functional.cross_entropy(steps.flatten(0, 1), index, reduction="none").unflatten(
                0, (-1, self.frames)
            )
            allowed = self.beta * torch.exp(torch.arange(1, self.frames, device=each.device) / 2)
            good = (each[:, :-1] <= allowed).to(gates.dtype)
        return loss + functional.binary_cross_entropy_with_logits(gates, good)

    def unit_modules(self) -> tuple[str, ...]:
        return ("backbone", "mlp", "classifiers", "gates")

    def policy_modules(self) -> tuple[str, ...]:
        return ("gates",)

    def all_units(self, height: int, width: int) -> tuple[int, ...]:
        return (self.frames, self.frames, self.frames, max(self.frames - 1, 1))

    def expected_units(self, height: int, width: int, ratio: float) -> tuple[float, ...]:
        """An answer after this share of the frames."""
        steps = max(ratio * self.frames, 1.0)
        return (steps, steps, 1.0, min(steps, self.frames - 1))

    def example_selection(self, videos: int, ratio: float) -> Selection:
        step = max(round(ratio * self.frames), 1)
        return Selection(exit_step=torch.full((videos,), step, device=next(self.parameters()).device))

    def kept_units(self, selection: Selection, height: int, width: int) -> Tensor:
        """Frames looked at, twice; one classifier; gates passed."""
        steps = selection.exit_step
        assert steps is not None
        return torch.stack([steps, steps, torch.ones_like(steps), steps.clamp_max(self.frames - 1)])

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.classifiers], policy=[self.gates])


class Gate(nn.Module):
    """Whether the maximum before and after a frame says enough: two shared layers, one logit."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * hidden),
            nn.BatchNorm1d(2 * hidden),
            nn.ReLU(),
            nn.Linear(2 * hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
        )
        self.score = nn.Linear(2 * hidden, 1)

    def forward(self, after: Tensor, before: Tensor) -> Tensor:
        """(B, width) each -> (B,) logits of opening."""
        both = self.layers(torch.cat([after, before])).chunk(2)
        return self.score(torch.cat(both, dim=1)).squeeze(1)


# Of ten frames, in the released code.
PUBLISHED_ORDER = [5, 0, 9, 2, 7, 4, 6, 3, 8, 1]


def bisecting(frames: int) -> list[int]:
    """Positions in the order of looking: the middle, the ends, then the middle of the widest gap, the earlier first.

    The published order, where the frames are as many as there.
    """
    if frames == len(PUBLISHED_ORDER):
        return PUBLISHED_ORDER
    order = list(dict.fromkeys([frames // 2, 0, frames - 1]))
    while len(order) < frames:
        seen = sorted(order)
        _, _, middle = max((high - low, -low, (low + high) // 2) for low, high in pairwise(seen))
        order.append(middle)
    return order
