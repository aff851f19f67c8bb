"""AdaFocus V2: where to look, learned end to end.

Wang et al., "AdaFocus V2: End-to-End Training of Spatial Dynamic Networks for Video Recognition", CVPR 2022; code
LeapLabTHU/AdaFocusV2.

Faithful: a glance over whole frames, a policy on its detached maps that gives (x, y) by a sigmoid, crops by bilinear
interpolation so that gradients reach the policy through the pixels, a second branch with random crops, the loss of
joint, glance and focus predictions averaged over both branches (section 3.2). Both published forms are settings:

- `per="frame"`, `head="pooled"` (ActivityNet, FCVID, Mini-Kinetics): a crop a frame from a GRU; MLP with running
  maximum, one classifier a step.
- `per="video"`, `head="average"` (Something-Something, Jester): one crop for all frames from all frames' maps; TSM in
  both networks, logits averaged; the joint prediction is the sum of both, on detached features, with classifiers of its
  own.

Its recipe in the common loop (the code's README): SGD 50 epochs, cosine from 0.002 at a batch of 32, decay 1e-4,
dropout 0.2, rates of the glance x 0.5, of the policy x 0.1, of the classifier x 5; a policy of width 2048 for frames,
1024 for videos. Different: the glance sees `glance_frames` of the T given frames where the paper draws its own.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from afnet.contract import Output, Progress, average_frames, grouped_parameters
from baselines.contract import make_classifier, map_side
from baselines.cropper import CropSampler, GridPolicy, PooledHead, glimpse
from baselines.looking import spread_frames
from baselines.losses import each_step
from baselines.sampler import Recogniser


class AdaFocusV2(CropSampler):
    """Glance, policy, focus, classifier.

    Args:
        glance: backbone of the glance.
        glance_size: pixels a side of what it sees.
        glance_frames: how many of the T frames it sees; 0 is all.
        per: a crop a "frame", or one a "video".
        head: "pooled" or "average", see above.
        hidden: width of the policy.
        width: of the pooled head's MLP.
        others: of CropSampler.
    """

    glanced: Tensor

    def __init__(
        self,
        *,
        glance: str = "mobilenetv2",
        glance_size: int = 224,
        glance_frames: int = 0,
        per: Literal["frame", "video"] = "frame",
        head: Literal["pooled", "average"] = "pooled",
        hidden: int = 2048,
        width: int = 4096,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        seen = glance_frames or self.frames
        if seen > self.frames or (per == "frame" and seen != self.frames):
            raise ValueError(
                f"the glance is to see {seen} of {self.frames} frames; expected at most {self.frames}, and all of them "
                "where each frame has a crop of its own"
            )
        self.register_buffer("glanced", spread_frames(self.frames, seen), persistent=False)
        self.glance_size, self.per, self.head = glance_size, per, head
        shifts = self.focus.shifts
        self.glance = Recogniser(
            glance, frames=seen if shifts else 0, classes=self.classes, dropout=self.focus.dropout.p
        )
        channels, cells = self.glance.backbone.channels, map_side(glance_size) ** 2
        if per == "frame":
            self.policy: nn.Module = FramePolicy(channels, cells, hidden)
        else:
            self.policy = VideoPolicy(channels, seen, cells, hidden)
        features = self.glance.backbone.features + self.focus.backbone.features
        if head == "pooled":
            self.classifier: nn.Module = PooledHead(
                features, self.frames, self.classes, width=width, dropout=self.focus.dropout.p
            )
        else:
            self.classifier = SummedHead(
                self.glance.backbone.features, self.focus.backbone.features, self.classes, self.focus.dropout.p
            )

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K), selection.crops (N, T, 4)."""
        self.check_clips(clips)
        videos, seen = len(clips), len(self.glanced)
        maps = self.glance.maps(glimpse(clips, self.glanced, self.glance_size), seen)  # (N*t, C, h, w)
        glanced = self.glance.backbone.pooled(maps)  # (N*t, C)
        boxes = self.boxes(self.policy(maps.detach(), videos), clips)
        joint, focused = self._look(clips, boxes, glanced)
        if not self.training:
            return Output(joint[:, -1], self.looked(boxes, clips))
        drawn = torch.rand(videos, *((self.frames, 2) if self.per == "frame" else (2,)), device=clips.device)
        other_joint, other_focused = self._look(clips, self.boxes(drawn.to(clips.dtype), clips), glanced)
        extras = {
            "joint": torch.stack([joint, other_joint]),  # (2, N, steps, K)
            "focused": torch.stack([focused, other_focused]),  # (2, N, T or 1, K)
            "glanced": self._frame_logits(self.glance, glanced, seen),
        }
        return Output(joint[:, -1], self.looked(boxes, clips), extras)

    def _look(self, clips: Tensor, boxes: Tensor, glanced: Tensor) -> tuple[Tensor, Tensor]:
        """The focus at these boxes: (N, steps, K) joint logits, and the focus's own (in training)."""
        features = self.focus.features(self.seen(clips, boxes), self.frames)  # (N*T, D)
        if isinstance(self.classifier, PooledHead):
            both = torch.cat([glanced, features], dim=1).unflatten(0, (-1, self.frames))
            joint = self.classifier(both)
        else:
            joint = self.classifier(glanced, features, len(clips))[:, None]
        return joint, self._frame_logits(self.focus, features, self.frames) if self.training else joint

    def _frame_logits(self, network: Recogniser, features: Tensor, frames: int) -> Tensor:
        """A network's own prediction: of each frame under the pooled head, of the video under the other."""
        logits = network.classifier(network.dropout(features))
        if self.head == "pooled":
            return logits.unflatten(0, (-1, frames))
        return average_frames(logits, frames)[:, None]

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Joint, glance and focus cross-entropies, the mean of the policy's branch and the random one."""
        joint, focused, glanced = (output.extras[name] for name in ("joint", "focused", "glanced"))
        branches = [each_step(j, labels) + each_step(f, labels) for j, f in zip(joint, focused, strict=True)]
        return torch.stack(branches).mean() + each_step(glanced, labels)

    def policy_modules(self) -> tuple[str, ...]:
        return ("policy",)

    def parameter_groups(self) -> list[dict[str, Any]]:
        heads = [self.classifier, self.focus.classifier, self.glance.classifier]
        return grouped_parameters(self, classifier=heads, policy=[self.policy], glance=[self.glance.backbone])


class FramePolicy(nn.Module):
    """A crop for each frame, from it and those before it."""

    def __init__(self, channels: int, cells: int, hidden: int) -> None:
        super().__init__()
        self.encode = GridPolicy(channels, cells, hidden=hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.place = nn.Linear(hidden, 2)

    def forward(self, maps: Tensor, videos: int) -> Tensor:
        """(N*T, C, h, w) -> (N, T, 2) in 0..1."""
        states, _ = self.gru(self.encode(maps).unflatten(0, (videos, -1)))
        return torch.sigmoid(self.place(states))


class VideoPolicy(nn.Module):
    """One crop for all frames, from all of them."""

    def __init__(self, channels: int, frames: int, cells: int, hidden: int) -> None:
        super().__init__()
        self.encode = GridPolicy(channels * frames, cells, hidden=hidden)
        self.narrow = nn.Sequential(nn.Linear(hidden, hidden // 2), nn.BatchNorm1d(hidden // 2), nn.Tanh())
        self.place = nn.Linear(hidden // 2, 2)

    def forward(self, maps: Tensor, videos: int) -> Tensor:
        """(N*t, C, h, w) -> (N, 2) in 0..1."""
        together = maps.unflatten(0, (videos, -1)).flatten(1, 2)  # (N, t * C, h, w)
        return torch.sigmoid(self.place(self.narrow(self.encode(together))))


class SummedHead(nn.Module):
    """Glance's logits and focus's, averaged over frames and added; it sends no gradient into the two networks."""

    def __init__(self, glance: int, focus: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.glance, self.focus = make_classifier(glance, classes), make_classifier(focus, classes)

    def forward(self, glanced: Tensor, focused: Tensor, videos: int) -> Tensor:
        """(N*t, C) and (N*T, D) -> (N, K)."""
        one, other = self.glance(self.dropout(glanced.detach())), self.focus(self.dropout(focused.detach()))
        return one.unflatten(0, (videos, -1)).mean(dim=1) + other.unflatten(0, (videos, -1)).mean(dim=1)
