"""AFNet a second time: slow, plain, straight from the description, over tensors under their released names.

Nothing of `afnet` is used. It multiplies by the mask, as the released code does, and has no noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]
BASE = "module.base_model."


class Reference:
    """One forward of a released state.

    Args:
        state: tensors by released name.
        frames: T.
        shift: temporal shift in every block.
        training: batch statistics in batch-norms, and the straight-through gradient of masks.
    """

    def __init__(self, state: State, *, frames: int, shift: bool, training: bool = False) -> None:
        self.state, self.frames, self.shift, self.training = state, frames, shift, training
        self.masks: list[Tensor] = []

    def __call__(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, 3, H, W) -> logits (N, K) and masks (blocks, N, T) bool."""
        self.masks = []
        mobile = BASE + "conv.weight" in self.state
        logits = (self.mobilenet if mobile else self.resnet)(clips.flatten(0, 1))
        logits = logits.view(len(clips), self.frames, -1).mean(1)
        return logits, torch.stack([mask.view(len(clips), self.frames) > 0.5 for mask in self.masks])

    # Pieces -----------------------------------------------------------------------------------------------------------

    def conv(self, x: Tensor, name: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = self.state[BASE + name + ".weight"]
        bias = self.state.get(BASE + name + ".bias")
        return functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def bn(self, x: Tensor, name: str) -> Tensor:
        part = {key: self.state[BASE + name + "." + key] for key in ("weight", "bias", "running_mean", "running_var")}
        mean, var = part["running_mean"].detach().clone(), part["running_var"].detach().clone()
        return functional.batch_norm(x, mean, var, part["weight"], part["bias"], self.training)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.state[BASE + name + ".weight"], self.state.get(BASE + name + ".bias"))

    def shifted(self, x: Tensor) -> Tensor:
        if not self.shift:
            return x
        x = x.view(-1, self.frames, *x.shape[1:])
        fold = x.shape[2] // 8
        out = torch.zeros_like(x)
        for t in range(self.frames):
            if t + 1 < self.frames:
                out[:, t, :fold] = x[:, t + 1, :fold]
            if t > 0:
                out[:, t, fold : 2 * fold] = x[:, t - 1, fold : 2 * fold]
            out[:, t, 2 * fold :] = x[:, t, 2 * fold :]
        return out.flatten(0, 1)

    def mask(self, x: Tensor, name: str, temperature: float = 1.0) -> Tensor:
        x = functional.relu(self.bn(self.conv(x.mean(dim=(2, 3), keepdim=True), name + ".conv_pool"), name + ".bn"))
        x = x.reshape(-1, 2 * self.frames, 1, 1)
        logits = self.conv(x, name + ".conv_gs", groups=self.frames).view(-1, self.frames, 2)
        soft = torch.softmax(logits / temperature, dim=2)
        hard = torch.zeros_like(soft).scatter_(2, soft.argmax(dim=2, keepdim=True), 1.0)
        mask = ((hard - soft.detach()) + soft)[:, :, 1].reshape(-1, 1, 1, 1)
        self.masks.append(mask)
        return mask

    def gate(self, ample: Tensor, focal: Tensor, name: str) -> Tensor:
        ample = functional.interpolate(ample, size=focal.shape[-2:])
        weight = functional.relu(self.linear((ample + focal).mean(dim=(2, 3)), name + ".fc.0"))
        weight = torch.sigmoid(self.linear(weight, name + ".fc.2"))[:, :, None, None]
        return weight * ample + (1 - weight) * focal

    # ResNet -----------------------------------------------------------------------------------------------------------

    def resnet(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn(self.conv(x, "conv1", stride=2), "bn1"))
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage, stride in ((1, 2), (2, 2), (3, 1)):
            x = self.af_module(x, f"layer{stage}", stride)
        for block in range(self.length("layer4")):
            x = self.bottleneck(x, f"layer4.{block}", stride=2 if block == 0 else 1)
        x = x.mean(dim=(2, 3))
        return functional.linear(x, self.state["module.new_fc.weight"], self.state["module.new_fc.bias"])

    def length(self, part: str) -> int:
        return len({key.split(".")[2 + part.count(".") + 1] for key in self.state if key.startswith(f"{BASE}{part}.")})

    def af_module(self, x: Tensor, name: str, stride: int) -> Tensor:
        ample = focal = x
        pairs = self.length(name + ".base_module")
        for i in range(pairs):
            mask = self.mask(ample, f"{name}.list_gen.{i}")
            relu = pairs == 1 or i < pairs - 1
            ample = self.bottleneck(ample, f"{name}.base_module.{i}", stride=2 if i == 0 else 1, relu=relu)
            focal = self.bottleneck(focal, f"{name}.refine_module.{i}", mask=mask, groups=2, relu=relu)
        ample = self.bn(self.conv(ample, name + ".base_transform.0"), name + ".base_transform.1")
        return self.bottleneck(
            functional.relu(self.gate(ample, focal, name + ".att_gen")), name + ".fusion.0", stride=stride
        )

    def bottleneck(
        self, x: Tensor, name: str, *, stride: int = 1, mask: Tensor | None = None, groups: int = 1, relu: bool = True
    ) -> Tensor:
        shortcut = functional.avg_pool2d(x, 3, 2, 1) if stride == 2 else x
        first = 1 if stride == 2 else 0
        if f"{BASE}{name}.downsample.{first}.weight" in self.state:
            shortcut = self.bn(self.conv(shortcut, f"{name}.downsample.{first}"), f"{name}.downsample.{first + 1}")
        x = self.shifted(x)
        x = x if mask is None else x * mask
        x = functional.relu(self.bn(self.conv(x, name + ".conv1", groups=groups), name + ".bn1"))
        x = functional.relu(self.bn(self.conv(x, name + ".conv2", stride=stride, groups=groups), name + ".bn2"))
        x = self.bn(self.conv(x, name + ".conv3", groups=groups), name + ".bn3") + shortcut
        return functional.relu(x) if relu else x

    # MobileNetV3 ------------------------------------------------------------------------------------------------------

    def mobilenet(self, x: Tensor) -> Tensor:
        x = functional.hardswish(self.bn(self.conv(x, "conv", stride=2), "bn"))
        x = self.inverted(x, "features_head.0")
        for i in range(2):
            x = self.inverted(x, f"features_stage1.{i}", stride=2)
        for stage, pairs, swish, stride in ((2, 2, False, 2), (3, 3, True, 1)):
            ample = focal = x
            for i in range(pairs):
                mask = self.mask(ample, f"list_gen{stage}.{i}")
                ample = self.inverted(ample, f"features_stage{stage}_base.{i}", stride=2 if i == 0 else 1, swish=swish)
                focal = self.inverted(focal, f"features_stage{stage}_refine.{i}", mask=mask, swish=swish)
            x = self.gate(ample, focal, f"att_gen{stage}")
            x = self.inverted(x, f"features_stage{stage}_fuse.0", stride=stride, swish=swish)
        for i in range(2):
            x = self.inverted(x, f"features_stage4.{i}", swish=True)
        for i in range(3):
            x = self.inverted(x, f"features_stage5.{i}", stride=2 if i == 0 else 1, swish=True)
        x = functional.hardswish(self.bn(self.conv(x, "conv_last"), "bn_last")).mean(dim=(2, 3))
        return self.linear(functional.hardswish(self.linear(x, "fc.0")), "fc.3")

    def inverted(
        self, x: Tensor, name: str, *, stride: int = 1, mask: Tensor | None = None, swish: bool = False
    ) -> Tensor:
        activate = functional.hardswish if swish else functional.relu
        groups = 1 if mask is None else 2
        shortcut: Tensor | None = x
        if f"{BASE}{name}.res_connect.0.weight" in self.state:
            shortcut = self.bn(self.conv(x, f"{name}.res_connect.0", groups=2), f"{name}.res_connect.1")
        x = self.shifted(x)
        x = x if mask is None else x * mask
        if f"{BASE}{name}.conv3.weight" not in self.state:  # no expansion
            x = activate(self.bn(self.conv(x, name + ".conv1", stride=stride, groups=x.shape[1]), name + ".bn1"))
            x = self.bn(self.conv(self.se(x, name), name + ".conv2", groups=groups), name + ".bn2")
        else:
            x = activate(self.bn(self.conv(x, name + ".conv1", groups=groups), name + ".bn1"))
            x = self.bn(self.conv(x, name + ".conv2", stride=stride, groups=x.shape[1]), name + ".bn2")
            x = self.bn(self.conv(activate(self.se(x, name)), name + ".conv3", groups=groups), name + ".bn3")
        assert shortcut is not None
        return x + shortcut if shortcut.shape == x.shape else x

    def se(self, x: Tensor, name: str) -> Tensor:
        if f"{BASE}{name}.se.fc.0.weight" not in self.state:
            return x
        weight = self.linear(functional.relu(self.linear(x.mean(dim=(2, 3)), name + ".se.fc.0")), name + ".se.fc.2")
        return x * (functional.relu6(weight + 3) / 6)[:, :, None, None]
