"""ResNet, TSN and TSM a second time: plain functions over tensors under torchvision's names.

Nothing of `baselines` is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def conv_bn(state: State, x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
    weight = state[f"{conv}.weight"]
    x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
    mean, var, scale, bias = (state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, scale, bias)


def shift(x: Tensor, frames: int) -> Tensor:
    """TSM's released code (ops/temporal_shift.py), not in place, fold_div = 8."""
    x = x.view(-1, frames, *x.shape[1:])
    fold = x.shape[2] // 8
    out = torch.zeros_like(x)
    out[:, :-1, :fold] = x[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    return out.flatten(0, 1)


def shifted_blocks(blocks: tuple[int, ...]) -> set[str]:
    """Names of the blocks that TSM's released code shifts: every second where stage 3 has 23 blocks or more."""
    every = 2 if blocks[2] >= 23 else 1
    return {f"layer{stage}.{i}" for stage, count in enumerate(blocks, 1) for i in range(0, count, every)}


def features(state: State, x: Tensor, blocks: tuple[int, ...], *, frames: int = 0) -> Tensor:
    """(N*T, 3, H, W) -> (N*T, C); with frames, shifted as TSM does."""
    shifted = shifted_blocks(blocks) if frames else set()
    x = functional.relu(conv_bn(state, x, "conv1", "bn1", stride=2))
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            shortcut = x
            if f"{name}.downsample.0.weight" in state:
                shortcut = conv_bn(state, x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            out = shift(x, frames) if name in shifted else x
            out = functional.relu(conv_bn(state, out, f"{name}.conv1", f"{name}.bn1"))
            out = functional.relu(conv_bn(state, out, f"{name}.conv2", f"{name}.bn2", stride))
            x = functional.relu(conv_bn(state, out, f"{name}.conv3", f"{name}.bn3") + shortcut)
    return x.mean(dim=(2, 3))


def logits(state: State, clips: Tensor, blocks: tuple[int, ...], *, shifts: bool) -> Tensor:
    """(N, T, 3, H, W) -> (N, K): the mean of the frames' logits."""
    frames = clips.shape[1]
    backbone = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    x = features(backbone, clips.flatten(0, 1), blocks, frames=frames if shifts else 0)
    scores = functional.linear(x, state["classifier.weight"], state["classifier.bias"])
    return scores.view(-1, frames, scores.shape[1]).mean(1)


def awaken(model: torch.nn.Module, seed: int = 0) -> None:
    """Give batch-norms statistics and the classifier weights, so that nothing in the network is an identity."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        owner = model.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, torch.nn.BatchNorm2d) and tensor.is_floating_point():
            low, high = (-0.3, 0.3) if name.endswith(("bias", "running_mean")) else (0.5, 1.5)
            tensor.uniform_(low, high, generator=generator)
        elif isinstance(owner, torch.nn.Linear):
            tensor.normal_(generator=generator)
    model.eval()
