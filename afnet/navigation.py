"""How a frame is chosen: navigation reads cheap features and keeps or drops each frame for one focal block."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

DROP, KEEP = 0, 1
Context = Literal["position", "shared", "temporal"]
# Logits of a choice that is not learned: no Gumbel noise overturns them, and half precision holds them.
CERTAIN = 1e4


class Navigation(nn.Module):
    """Scores of dropping and keeping each frame (paper, equations 2 and 3).

    Global average pool -> 1x1 convolution to 2 channels, batch-norm, ReLU -> `score`, with bias that starts at keep.

    Args:
        channels: of the features it reads.
        frames: T.
        context: "position", as published: a 2x2 map for each frame *position*, so that no frame sees another one here
            and the weights are tied to T; "shared": one map for all positions; "temporal": a convolution over three
            neighbouring frames. A map for each position learns from one frame in T, and a short training then settles
            on positions instead of contents.
    """

    def __init__(self, channels: int, frames: int, context: Context = "position") -> None:
        super().__init__()
        self.frames = frames
        self.context = context
        self.squeeze = nn.Conv2d(channels, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(2)
        maps = frames if context == "position" else 1
        self.score = nn.Conv2d(2 * maps, 2 * maps, 1, groups=maps)
        if context == "temporal":
            self.score = nn.Conv2d(2, 2, (3, 1), padding=(1, 0))

    def start(self, keep_bias: float, *, alike: bool) -> None:
        """Set the first state of the scores: drop 1, keep `keep_bias`, so that training begins by keeping.

        Args:
            alike: begin every position with the same weak preference, for frames with stronger features, instead of a
                random map.
        """
        assert self.score.bias is not None
        with torch.no_grad():
            self.score.bias.view(-1, 2).copy_(torch.tensor([1.0, keep_bias]))
            if alike:
                self.score.weight.zero_()
                middle = self.score.kernel_size[0] // 2
                self.score.weight[:, :, middle, 0].view(-1, 2, 2).copy_(0.3 * torch.eye(2))
                strength = 1 / self.squeeze.in_channels
                self.squeeze.weight.copy_(torch.tensor([-strength, strength]).view(2, 1, 1, 1))
                # Off the ReLU's dead side: drop and keep must both be able to move.
                self.bn.bias.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) -> (N, T, 2) logits of (drop, keep)."""
        scores = functional.relu(self.bn(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))  # (N*T, 2, 1, 1)
        if self.context == "position":
            return self.score(scores.reshape(-1, 2 * self.frames, 1, 1)).view(-1, self.frames, 2)
        scores = self.score(scores.view(-1, self.frames, 2, 1).transpose(1, 2))  # (N, 2, T, 1)
        return scores.squeeze(-1).transpose(1, 2)


class FixedNavigation(nn.Module):
    """The controls: round(ratio * T) frames of each video, at random or evenly spread; learns and costs nothing."""

    def __init__(self, frames: int, ratio: float, kind: Literal["random", "uniform"]) -> None:
        super().__init__()
        self.ratio, self.kind = ratio, kind
        self.set_frames(frames)

    def set_frames(self, frames: int) -> None:
        self.frames, self.kept = frames, max(round(self.ratio * frames), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) -> (N, T, 2) logits of (drop, keep), all but certain."""
        videos = len(x) // self.frames
        if self.kind == "random":
            chosen = torch.rand(videos, self.frames, device=x.device).argsort(dim=1)[:, : self.kept]
        else:
            middles = (torch.arange(self.kept, device=x.device) + 0.5) * self.frames / self.kept
            chosen = middles.long().expand(videos, -1)
        keep = torch.zeros(videos, self.frames, device=x.device, dtype=x.dtype).scatter_(1, chosen, 1.0)
        return torch.stack([1 - keep, keep], dim=-1) * CERTAIN


def decide(logits: Tensor, *, noise: bool, temperature: float, hard: bool = True) -> Tensor:
    """(Gumbel-)softmax over the last axis of (..., 2) logits of (drop, keep) (paper, equations 4 to 6).

    Hard, the result is exactly 0 or 1, 1 for keep, and has the soft sample's gradient (straight-through); temperature
    changes that gradient only. Without noise this is the argmax, a tie dropping. Soft, it is the weight itself.

    Returns:
        (...) float.
    """
    if noise:
        # Gumbel(0, 1) as -log(Exponential(1)); the clamp keeps a draw of exactly zero finite. Half precision could not
        # hold its bound, and would draw zeros.
        wide = torch.promote_types(logits.dtype, torch.float32)
        drawn = torch.empty_like(logits, dtype=wide).exponential_().clamp_min_(1e-20).log()
        logits = logits - drawn.to(logits.dtype)
    soft = torch.softmax(logits / temperature, dim=-1)[..., KEEP]
    if not hard:
        return soft
    return _StraightThrough.apply(soft, (logits[..., KEEP] > logits[..., DROP]).to(soft.dtype))


class _StraightThrough(torch.autograd.Function):
    """Forward `hard`, backward the identity to `soft`; `hard - soft + soft` would round to values beside 0 and 1."""

    @staticmethod
    def forward(ctx: object, soft: Tensor, hard: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
