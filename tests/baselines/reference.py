"""The backbones, TSN and TSM a second time: plain functions over tensors under the names of their weight files.

Nothing of `baselines` is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def conv_bn(
    state: State, x: Tensor, conv: str, norm: str, stride: int = 1, *, eps: float = 1e-5, same: bool = False
) -> Tensor:
    """With symmetric padding, or with TensorFlow's; depthwise where the weight says so."""
    weight = state[f"{conv}.weight"]
    kernel = weight.shape[-1]
    if same:
        # tensorflow.org/api_docs/python/tf/nn, "Notes on padding"; width first, as torch pads.
        total = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[:1:-1]]
        x = functional.pad(x, [pad for t in total for pad in (t // 2, t - t // 2)])
    x = functional.conv2d(x, weight, None, stride, 0 if same else kernel // 2, groups=x.shape[1] // weight.shape[1])
    mean, var, scale, bias = (state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, scale, bias, eps=eps)


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
            x = functional.relu(_residual(state, out, name, stride) + shortcut)
    return x.mean(dim=(2, 3))


def _residual(state: State, x: Tensor, name: str, stride: int) -> Tensor:
    """A bottleneck with the stride in its 3x3, or a basic block with the stride in its first."""
    bottleneck = f"{name}.conv3.weight" in state
    x = functional.relu(conv_bn(state, x, f"{name}.conv1", f"{name}.bn1", 1 if bottleneck else stride))
    x = conv_bn(state, x, f"{name}.conv2", f"{name}.bn2", stride if bottleneck else 1)
    return conv_bn(state, functional.relu(x), f"{name}.conv3", f"{name}.bn3") if bottleneck else x


def mobilenet_v2(state: State, x: Tensor, *, frames: int = 0) -> Tensor:
    """(N*T, 3, H, W) -> (N*T, 1280)."""
    x = functional.relu6(conv_bn(state, x, "features.0.0", "features.0.1", 2))
    for block in range(1, 18):
        name, stride = f"features.{block}.conv", 2 if block in (2, 4, 7, 14) else 1
        expands = f"{name}.1.0.weight" in state
        outputs = state[f"{name}.{2 if expands else 1}.weight"].shape[0]
        adds = stride == 1 and outputs == x.shape[1]
        out = shift(x, frames) if frames and adds and expands else x
        if expands:
            out = functional.relu6(conv_bn(state, out, f"{name}.0.0", f"{name}.0.1"))
        last = 1 if expands else 0
        out = functional.relu6(conv_bn(state, out, f"{name}.{last}.0", f"{name}.{last}.1", stride))
        out = conv_bn(state, out, f"{name}.{last + 1}", f"{name}.{last + 2}")
        x = x + out if adds else out
    return functional.relu6(conv_bn(state, x, "features.18.0", "features.18.1")).mean(dim=(2, 3))


def mobilenet_v3(state: State, x: Tensor, *, frames: int = 0) -> Tensor:
    """(N*T, 3, H, W) -> (N*T, 1280)."""
    x = functional.hardswish(conv_bn(state, x, "features.0.0", "features.0.1", 2, eps=1e-3))
    for block in range(1, 16):
        activate = functional.hardswish if block >= 7 else functional.relu
        name, stride = f"features.{block}.block", 2 if block in (2, 4, 7, 13) else 1
        parts = 1 + max(int(key.split(".")[3]) for key in state if key.startswith(f"{name}."))
        adds = stride == 1 and state[f"{name}.{parts - 1}.0.weight"].shape[0] == x.shape[1]
        out, part = x, 0
        if block > 1:
            out = shift(x, frames) if frames and adds else x
            out, part = activate(conv_bn(state, out, f"{name}.0.0", f"{name}.0.1", eps=1e-3)), 1
        out = activate(conv_bn(state, out, f"{name}.{part}.0", f"{name}.{part}.1", stride, eps=1e-3))
        if f"{name}.{part + 1}.fc1.weight" in state:
            out = out * _squeeze_excite(state, out.mean(dim=(2, 3)), f"{name}.{part + 1}")
        out = conv_bn(state, out, f"{name}.{parts - 1}.0", f"{name}.{parts - 1}.1", eps=1e-3)
        x = x + out if adds else out
    x = functional.hardswish(conv_bn(state, x, "features.16.0", "features.16.1", eps=1e-3)).mean(dim=(2, 3))
    return functional.hardswish(functional.linear(x, state["classifier.0.weight"], state["classifier.0.bias"]))


def _squeeze_excite(state: State, means: Tensor, name: str) -> Tensor:
    fc1, fc2 = (state[f"{name}.{layer}.weight"].flatten(1) for layer in ("fc1", "fc2"))
    hidden = functional.relu(means @ fc1.T + state[f"{name}.fc1.bias"])
    scores = hidden @ fc2.T + state[f"{name}.fc2.bias"]
    return ((scores + 3).clamp(0, 6) / 6)[:, :, None, None]


def efficientnet_lite0(state: State, x: Tensor, *, frames: int = 0) -> Tensor:
    """(N*T, 3, H, W) -> (N*T, 1280)."""
    x = functional.relu6(conv_bn(state, x, "_conv_stem", "_bn0", 2, eps=1e-3, same=True))
    for block in range(16):
        name, stride = f"_blocks.{block}", 2 if block in (1, 3, 5, 11) else 1
        adds = stride == 1 and state[f"{name}._project_conv.weight"].shape[0] == x.shape[1]
        out = x
        if block:
            out = shift(x, frames) if frames and adds else x
            out = functional.relu6(conv_bn(state, out, f"{name}._expand_conv", f"{name}._bn0", eps=1e-3))
        out = conv_bn(state, out, f"{name}._depthwise_conv", f"{name}._bn1", stride, eps=1e-3, same=True)
        out = conv_bn(state, functional.relu6(out), f"{name}._project_conv", f"{name}._bn2", eps=1e-3)
        x = x + out if adds else out
    return functional.relu6(conv_bn(state, x, "_conv_head", "_bn1", eps=1e-3)).mean(dim=(2, 3))


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
