"""What a training steps with: SGD or AdamW over a method's groups of parameters, and the rate of each step."""

from __future__ import annotations

import math

import torch

from afnet.contract import Progress, VideoModel
from bench.experiment import Training

# Learning rates per kind of parameter. The published ones (TSM's code, AFNet's) fine-tune ImageNet weights with a fresh
# classifier; from scratch a classifier that runs ahead of its features stalls the training (measured on the tiny nets).
MULTIPLIERS: dict[str, dict[str, float]] = {
    "published": {
        "navigation": 10.0,
        "classifier weight": 5.0,
        "classifier bias": 10.0,
        "bias": 2.0,
        # AdaFocus V2's code.
        "policy": 0.1,
        "glance": 0.5,
    },
    "from-scratch": {"navigation": 10.0},
}


def learning_rate(training: Training, progress: Progress) -> float:
    """The factor on the learning rate: linear warm-up, then a cosine to zero or tenfold steps."""
    warm = training.warmup * progress.steps
    if progress.step + 1 < warm:
        return (progress.step + 1) / warm
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress.fraction))
    return 0.1 ** sum(progress.fraction >= edge for edge in training.parsed_milestones())


def make_optimiser(model: VideoModel, training: Training) -> torch.optim.Optimizer:
    """An optimiser over the method's parameter groups, each with its learning rate at the peak as `peak`."""
    scales = MULTIPLIERS[training.multipliers]
    groups = [
        {
            "params": group["params"],
            "lr": training.lr * scales.get(group["kind"], 1.0),
            "peak": training.lr * scales.get(group["kind"], 1.0),
            "weight_decay": training.weight_decay if group["decay"] else 0.0,
        }
        for group in model.parameter_groups()
    ]
    if training.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=training.lr, betas=(training.momentum, 0.999), fused=True)
    optimiser = torch.optim.SGD(
        groups, lr=training.lr, momentum=training.momentum, nesterov=training.nesterov, fused=True
    )
    # The fused step takes no mixture of parameters with momentum and without, which methods have that learn in stages;
    # from zero it is what it would be.
    for parameter in (parameter for group in groups for parameter in group["params"] if training.momentum):
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser
