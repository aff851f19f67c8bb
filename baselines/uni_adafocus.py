"""Uni-AdaFocus: which frames, where, and how much of them.

Wang et al., "Uni-AdaFocus: Spatial-temporal Dynamic Computation for Video Recognition", TPAMI 2025; code
LeapLabTHU/Uni-AdaFocus.

Faithful: a glance over some of the candidate frames; a spatial policy of 3D convolutions on its detached maps that
gives (x, y) and (width, height) for each glanced frame, interpolated to all candidates; a temporal policy whose weights
say how densely to take frames for the focus (inverse of the cumulative weights); crops of any size resampled to one; a
second branch with random crops while training; policies learn from two predictions of their own: the spatial one
through the glance's maps resampled at the crops, the temporal one through the glance's logits weighed by a Monte-Carlo
estimate of drawing frames without replacement.

Different: the estimate weighs the frames that are left before each draw, over `draws` orders of one kind, where the
released code draws 128 sets; its random crops have the middle size, the released code's the patch's own; policies learn
from detached features and logits, where the released code lets the temporal policy's prediction reach the glance; the
glance's frames are segments' middles while training too; `temperature` acts on training and evaluation alike.

masked runs the focus on the candidates that were not taken, too, apart from those that were, and throws them away.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Output, Progress, Selection, grouped_parameters
from baselines.contract import SIDE_MULTIPLE, map_side
from baselines.cropper import CropSampler, FrameMLP, PooledHead, glimpse
from baselines.looking import as_indices, as_mask, crop, others, spread_frames, take_frames
from baselines.losses import each_step
from baselines.sampler import Recogniser


class UniAdaFocus(CropSampler):
    """Glance, spatial policy, temporal policy, focus, classifier.

    Args:
        glance: backbone of the glance.
        glance_size: pixels a side of what it sees.
        glance_frames: how many of the T candidates it sees.
        keep: how many of them the focus sees.
        smallest, largest: crops' sides as shares of the frame's.
        hidden: channels of the spatial policy.
        temporal_hidden: of the temporal policy.
        temperature: of the weights by which frames are taken.
        width: of the pooled heads' MLPs.
        draws: of the Monte-Carlo estimate.
        others: of CropSampler; `patch` is the side that crops are resampled to.
    """

    glanced: Tensor

    def __init__(
        self,
        *,
        glance: str = "mobilenetv2",
        glance_size: int = 224,
        glance_frames: int = 16,
        keep: int = 16,
        smallest: float = 96 / 224,
        largest: float = 1.0,
        hidden: int = 64,
        temporal_hidden: int = 64,
        temperature: float = 1.0,
        width: int = 4096,
        draws: int = 16,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        for name, value in (("glance_frames", glance_frames), ("keep", keep)):
            if not 1 <= value <= self.frames:
                raise ValueError(f"{name} is {value} of {self.frames} frames; expected 1 to {self.frames}")
        if not 0 < smallest <= largest <= 1:
            raise ValueError(f"crops are to have sides of {smallest} to {largest} of the frame's; expected 0 < .. <= 1")
        self.register_buffer("glanced", spread_frames(self.frames, glance_frames), persistent=False)
        self.glance_size, self.keep, self.draws = glance_size, keep, draws
        self.smallest, self.largest, self.temperature = smallest, largest, temperature
        dropout, shifts = self.focus.dropout.p, self.focus.shifts
        self.glance = Recogniser(glance, frames=glance_frames if shifts else 0, classes=self.classes, dropout=dropout)
        features, focused = self.glance.backbone.features, self.focus.backbone.features
        cells = map_side(glance_size)
        self.spatial = SpatialPolicy(self.glance.backbone.channels, hidden, cells)
        self.temporal = TemporalPolicy(features, temporal_hidden)
        self.classifier = TwoHeads(features, focused, glance_frames, keep, self.classes, width, dropout)
        self.auxiliary = nn.Linear(self.glance.backbone.channels, self.classes)

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K), selection.frames (1, N, T), crops (N, T, 4) of what the focus saw."""
        self.check_clips(clips)
        videos, seen = len(clips), len(self.glanced)
        maps = self.glance.maps(glimpse(clips, self.glanced, self.glance_size), seen)  # (N*t, C, h, w)
        glanced = self.glance.backbone.pooled(maps).unflatten(0, (videos, seen))  # (N, t, C)
        places = self.spatial(maps.detach(), videos)  # (N, t, 4)
        weights = self.temporal(glanced.detach(), self.temperature)  # (N, t)
        if self.forced.frames is not None:
            chosen = as_indices(self.forced.frames[0])
        else:
            chosen = frames_by_weight(weights.detach(), self.frames, self.keep, draw=self.training)  # (N, k)
        everywhere = functional.interpolate(places.transpose(1, 2), self.frames, mode="linear").transpose(1, 2)
        boxes = self._boxes(everywhere.detach(), clips)
        joint, focused = self._look(clips, chosen, boxes, glanced)
        selection = self._selection(chosen, boxes, clips)
        if not self.training:
            if self.execution == "masked" and self.keep < self.frames:
                self._features(clips, others(chosen, self.frames), boxes)
            return Output(joint[:, -1], selection)
        drawn = torch.rand_like(everywhere)
        drawn[..., 2:] = 0.5
        other_joint, other_focused = self._look(clips, chosen, self._boxes(drawn, clips), glanced)
        glance_logits = self.glance.classifier(self.glance.dropout(glanced))  # (N, t, K)
        extras = {
            "joint": torch.stack([joint, other_joint]),
            "focused": torch.stack([focused, other_focused]),
            "glanced": glance_logits,
            "spatial": self._spatial_logits(maps.detach(), places, videos),
            "temporal": expected_logits(glance_logits.detach(), weights, self.draws)[:, None],
        }
        return Output(joint[:, -1], selection, extras)

    def _shares(self, places: Tensor) -> Tensor:
        """(..., 4) x, y, width, height in 0..1 -> boxes as shares of the frame."""
        sides = self.smallest + (self.largest - self.smallest) * places[..., 2:]
        low = places[..., :2] * (1 - sides)
        return torch.cat([low, low + sides], dim=-1)

    def _boxes(self, places: Tensor, clips: Tensor) -> Tensor:
        """(N, T, 4) -> boxes in pixels; forced ones where there are."""
        if self.forced.crops is not None:
            return self.forced.crops
        height, width = clips.shape[-2:]
        return self._shares(places) * places.new_tensor([width, height, width, height])

    def _selection(self, chosen: Tensor, boxes: Tensor, clips: Tensor) -> Selection:
        """(N, k) frames and (N, T, 4) boxes -> what the focus saw."""
        taken = as_mask(chosen, self.frames)
        if self.execution == "dense" and not self.training:
            return Selection(frames=torch.ones_like(taken)[None], crops=self.looked(boxes, clips).crops)
        return Selection(frames=taken[None], crops=boxes * taken[..., None])

    def _features(self, clips: Tensor, chosen: Tensor, boxes: Tensor) -> Tensor:
        """(N, k, D) of the focus on these frames' boxes."""
        seen = crop(take_frames(clips, chosen), take_frames(boxes, chosen), self.patch)
        return self.focus.features(seen, chosen.shape[1]).unflatten(0, (len(clips), -1))

    def _look(self, clips: Tensor, chosen: Tensor, boxes: Tensor, glanced: Tensor) -> tuple[Tensor, Tensor]:
        """The focus on these frames and boxes: joint logits of the steps, and its own of each frame."""
        if self.execution == "dense" and not self.training:
            features = self.focus.features(clips.flatten(0, 1), self.frames).unflatten(0, (len(clips), -1))
        else:
            features = self._features(clips, chosen, boxes)
        joint = self.classifier(glanced, features)
        return joint, self.focus.classifier(self.focus.dropout(features)) if self.training else joint

    def _spatial_logits(self, maps: Tensor, places: Tensor, videos: int) -> Tensor:
        """(N, 1, K): what the glance's maps say within the crops; the spatial policy learns from it."""
        height, width = maps.shape[-2:]
        boxes = self._shares(places).flatten(0, 1) * maps.new_tensor([width, height, width, height])
        inside = crop(maps, boxes, max(round(self.patch / SIDE_MULTIPLE), 1)).mean(dim=(2, 3))
        return self.auxiliary(inside.unflatten(0, (videos, -1)).mean(dim=1))[:, None]

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropies of joint and focus (mean of both branches), of glance and of the policies' predictions."""
        extras = output.extras
        pairs = zip(extras["joint"], extras["focused"], strict=True)
        branches = torch.stack([each_step(joint, labels) + each_step(focused, labels) for joint, focused in pairs])
        return branches.mean() + sum(each_step(extras[name], labels) for name in ("glanced", "spatial", "temporal"))

    def unit_modules(self) -> tuple[str, ...]:
        return ("focus.backbone",)

    def policy_modules(self) -> tuple[str, ...]:
        return ("spatial", "temporal")

    def expected_units(self, height: int, width: int, ratio: float) -> tuple[float, ...]:
        """The frames that the focus sees, whatever the ratio."""
        return (self.keep,)

    def parameter_groups(self) -> list[dict[str, Any]]:
        heads = [self.classifier, self.focus.classifier, self.glance.classifier, self.auxiliary]
        policies = [self.spatial, self.temporal]
        return grouped_parameters(self, classifier=heads, policy=policies, glance=[self.glance.backbone])


class SpatialPolicy(nn.Module):
    """A crop for each glanced frame, from its map and those around it in time."""

    def __init__(self, channels: int, hidden: int, cells: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(channels, hidden, 1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(),
            nn.Conv3d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(),
            nn.Conv3d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(),
        )
        self.place = nn.Conv3d(hidden, 4, (1, cells, cells), bias=False)

    def forward(self, maps: Tensor, videos: int) -> Tensor:
        """(N*t, C, h, w) -> (N, t, 4) in 0..1: x, y, width, height."""
        together = maps.unflatten(0, (videos, -1)).transpose(1, 2)  # (N, C, t, h, w)
        return torch.sigmoid(self.place(self.layers(together)))[..., 0, 0].transpose(1, 2)


class TemporalPolicy(nn.Module):
    """How much each glanced frame matters, from its features and its neighbours'."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(features, hidden, 3, padding=1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, 1, 1, bias=False),
        )

    def forward(self, glanced: Tensor, temperature: float) -> Tensor:
        """(N, t, C) -> (N, t), of sum 1."""
        return (self.layers(glanced.transpose(1, 2))[:, 0] / temperature).softmax(dim=1)


class TwoHeads(nn.Module):
    """Running maxima of the glance's and the focus's frames, a classifier a step; the focus's see the glance's last."""

    def __init__(
        self, glanced: int, focused: int, glance_steps: int, focus_steps: int, classes: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.glance = PooledHead(glanced, glance_steps, classes, width=width, dropout=dropout)
        self.mlp = FrameMLP(focused, width)
        self.dropout = nn.Dropout(dropout)
        self.steps = nn.ModuleList(nn.Linear(2 * width, classes) for _ in range(focus_steps))

    def forward(self, glanced: Tensor, focused: Tensor) -> Tensor:
        """(N, t, C) and (N, k, D) -> (N, t + k, K) in training, (N, 1, K), the last step alone, in evaluation."""
        running = self.glance.running(glanced)
        z = self.mlp(focused)
        last = running[:, -1]
        if not self.training:
            return self.steps[-1](torch.cat([z.amax(dim=1), last], dim=1))[:, None]
        looked = [self.dropout(torch.cat([best, last], dim=1)) for best in z.cummax(dim=1).values.unbind(dim=1)]
        steps = torch.stack([step(best) for step, best in zip(self.steps, looked, strict=True)], dim=1)
        return torch.cat([self.glance.classify(running), steps], dim=1)


def frames_by_weight(weights: Tensor, frames: int, wanted: int, *, draw: bool) -> Tensor:
    """Frames as dense as the weights say: (N, t) weights of equal parts of T frames -> (N, wanted) int64, ascending.

    The cumulative weights are inverted at the middles of `wanted` equal steps, or at a random place of each.
    """
    parts = weights.shape[1]
    total = functional.pad(weights.cumsum(dim=1), (1, 0))  # (N, t + 1), from 0 to 1
    total = total / total[:, -1:]
    offset = torch.rand(len(weights), wanted, device=weights.device) if draw else 0.5
    levels = (torch.arange(wanted, device=weights.device) + offset).to(weights.dtype) / wanted
    levels = levels.expand(len(weights), -1).contiguous()
    part = (torch.searchsorted(total, levels, right=True) - 1).clamp(0, parts - 1)  # (N, wanted)
    low, high = total.gather(1, part), total.gather(1, part + 1)
    within = (levels - low) / (high - low).clamp_min(1e-12)
    positions = ((part + within) * frames / parts).floor().long().clamp(0, frames - 1)
    order = torch.arange(wanted, device=weights.device)
    apart = (positions - order).cummax(dim=1).values + order  # none twice
    return torch.minimum(apart, frames - wanted + order)


def expected_logits(logits: Tensor, weights: Tensor, draws: int) -> Tensor:
    """Logits to expect of frames drawn by these weights without replacement: (N, t, K), (N, t) -> (N, K).

    A third of the frames is drawn; before each draw, the logits of those left are weighed by their weights. The
    gradient goes to the weights.
    """
    videos, frames, _ = logits.shape
    noise = -torch.empty(videos, draws, frames, device=logits.device).exponential_().log()
    rank = (weights.detach().clamp_min(1e-12).log()[:, None] + noise).argsort(dim=2, descending=True).argsort(dim=2)
    before = torch.arange(max(frames // 3, 1), device=logits.device)
    left = weights[:, None, None] * (rank[:, :, None] >= before[:, None])  # (N, draws, k, t)
    left = left / left.sum(dim=3, keepdim=True).detach().clamp_min(1e-12)
    return torch.einsum("nt,ntk->nk", left.mean(dim=(1, 2)), logits)
