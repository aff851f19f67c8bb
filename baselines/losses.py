"""What several samplers' losses are made of."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def each_step(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (N, steps, K) logits, every step held to the clip's label."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


def label_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, steps, K) logits -> (N, steps), the probability that each step gives the clip's label."""
    index = labels[:, None, None].expand(-1, logits.shape[1], 1)
    return logits.softmax(dim=2).gather(2, index).squeeze(2)
