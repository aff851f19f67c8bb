"""How a frame is chosen: navigation reads cheap features and keeps or drops each frame for one focal block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DROP, KEEP = 0, 1


class Navigation(nn.Module):
    """Scores of dropping and keeping each frame (paper, section 3.2).

    Global average pool -> 1x1 convolution to 2 channels, batch-norm, ReLU -> a 2x2 map for each frame *position*, with
    bias that starts at keep. No frame sees another one here, and the weights are tied to T.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.squeeze = nn.Conv2d(channels, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(2)
        self.score = nn.Conv2d(2 * frames, 2 * frames, 1, groups=frames)

    def start(self, keep_bias: float, *, shared: bool) -> None:
        """Set the first state of the maps: drop 1, keep `keep_bias`, so that training begins by keeping.

        Args:
            shared: begin every position with the same weak preference, for frames with stronger features. As published
                a position begins with a random map and learns for itself which channel speaks for keeping; a training
                of a few hundred steps is too short for that, and selects by position instead.
        """
        assert self.score.bias is not None
        with torch.no_grad():
            self.score.bias.view(-1, 2).copy_(torch.tensor([1.0, keep_bias]))
            if shared:
                self.score.weight.view(-1, 2, 2).copy_(0.3 * torch.eye(2))
                strength = 1 / self.squeeze.in_channels
                self.squeeze.weight.copy_(torch.tensor([-strength, strength]).view(2, 1, 1, 1))
                # Off the ReLU's dead side: drop and keep must both be able to move.
                self.bn.bias.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) -> (N, T, 2) logits of (drop, keep)."""
        scores = functional.relu(self.bn(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))  # (N*T, 2, 1, 1)
        scores = self.score(scores.reshape(-1, 2 * self.frames, 1, 1))
        return scores.view(-1, self.frames, 2)


def decide(logits: Tensor, *, noise: bool, temperature: float) -> Tensor:
    """Hard (Gumbel-)softmax over the last axis of (N, T, 2) logits.

    Forward the result is exactly 0 or 1, 1 for keep; backward it is the soft sample's gradient (straight-through).
    Without noise this is the argmax, a tie dropping the frame. Temperature changes the gradient only.

    Returns:
        (N, T) float.
    """
    if noise:
        # Gumbel(0, 1) as -log(Exponential(1)); the clamp keeps a draw of exactly zero finite.
        logits = logits - torch.empty_like(logits).exponential_().clamp_min_(1e-20).log()
    soft = torch.softmax(logits / temperature, dim=-1)[..., KEEP]
    hard = (logits[..., KEEP] > logits[..., DROP]).to(soft.dtype)
    return _StraightThrough.apply(soft, hard)


class _StraightThrough(torch.autograd.Function):
    """Forward `hard`, backward the identity to `soft`; `hard - soft + soft` would round to values beside 0 and 1."""

    @staticmethod
    def forward(ctx: object, soft: Tensor, hard: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
