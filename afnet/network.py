"""AFNet on residual networks: cheap ample features of all frames, focal features of the frames navigation keeps.

Zhang et al., "Look More but Care Less in Video Recognition", NeurIPS 2022. N videos, T frames, K classes; frames
travel as (N*T, C, H, W). One AF module, b blocks, C_in -> C_out channels:

    x ---> ample_1 --> ... --> ample_(b-1)   half the side, C_out/2 ---> project, upsample --+
      \\       |navigation_2                                                                  gate --> fusion block -->
       +-> focal_1 --> ... --> focal_(b-1)   full side, C_out, kept frames only ------------+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.blocks import Block, FocalBlock
from afnet.contract import Output, Progress, Selection, VideoModel, average_frames, grouped_parameters
from afnet.navigation import Navigation, decide
from afnet.schedules import WARM_END, WARM_START, ratio_loss, target_ratio, temperature


@dataclass(frozen=True)
class Preset:
    """Size of an AF-ResNet.

    Attributes:
        blocks: blocks of stages 1 to 4; the first three are AF modules.
        width: channels of the stem; stage s puts out width * 2**(s + 1).
    """

    blocks: tuple[int, int, int, int]
    width: int


PRESETS = {
    "tiny": Preset((2, 3, 4, 1), 8),
    "resnet50": Preset((3, 4, 6, 3), 64),
    "resnet101": Preset((4, 8, 18, 3), 64),
}
# The stem and the stages halve the side five times.
SIDE_MULTIPLE = 32


class FusionGate(nn.Module):
    """a = sigmoid(W2 relu(W1 pool(ample + focal))); out = a * ample + (1 - a) * focal (paper, equation 5)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)

    def forward(self, ample: Tensor, focal: Tensor) -> Tensor:
        """Two (B, C, H, W) -> (B, C, H, W)."""
        pooled = (ample + focal).mean(dim=(2, 3))  # (B, C)
        weight = torch.sigmoid(self.expand(functional.relu(self.reduce(pooled))))[:, :, None, None]
        return focal + weight * (ample - focal)


class AFModule(nn.Module):
    """One stage of b = blocks: b - 1 pairs of an ample and a focal block, then a dense fusion block."""

    def __init__(self, inputs: int, outputs: int, *, blocks: int, stride: int, frames: int, shift: bool) -> None:
        super().__init__()
        pairs = blocks - 1
        cheap = outputs // 2
        shifting = frames if shift else 0
        self.navigation = nn.ModuleList(Navigation(inputs if i == 0 else cheap, frames) for i in range(pairs))
        self.ample = nn.ModuleList()
        self.focal = nn.ModuleList()
        for i in range(pairs):
            last_relu = pairs == 1 or i < pairs - 1
            first = i == 0
            self.ample.append(
                Block(
                    inputs if first else cheap,
                    cheap,
                    stride=2 if first else 1,
                    frames=shifting,
                    last_relu=last_relu,
                )
            )
            self.focal.append(FocalBlock(inputs if first else outputs, outputs, frames=shifting, last_relu=last_relu))
        self.project = nn.Sequential(nn.Conv2d(cheap, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.gate = FusionGate(outputs)
        self.fusion = Block(outputs, outputs, stride=stride, frames=shifting)

    def fuse(self, ample: Tensor, focal: Tensor) -> Tensor:
        """ample (B, C_out/2, h, w), focal (B, C_out, H, W) -> (B, C_out, H / stride, W / stride)."""
        ample = functional.interpolate(self.project(ample), size=focal.shape[-2:], mode="nearest")
        return self.fusion(functional.relu(self.gate(ample, focal), inplace=True))


class AFNet(VideoModel):
    """AF-ResNet with navigation.

    Args:
        backbone: a name in PRESETS.
        frames: T; navigation's weights are tied to it.
        classes: K.
        ratio: RT, the share of frames per block that training aims at, in (0, 1].
        shift: temporal shift in every block ("AFNet-TSM").
        dropout: before the classifier.
        ratio_weight: lambda, the weight of the loss on the ratio.
        warm_start, warm_end: shares of the run between which the target falls from 1 to `ratio`.
        end_temperature: of the schedule.
        keep_bias: navigation's initial logit of keep, against 1 of drop.
        shared_start: all frame positions of a navigation start from the same map (see Navigation).
        zero_init: the last batch-norm of every dense block starts at zero, as published for networks that start from
            ImageNet weights; a short training from scratch learns faster without.

    Attributes:
        gumbel_noise: whether decisions are drawn (training) or taken by argmax (evaluation); `train()` and `eval()`
            set it, an assignment after them overrides it.
        temperature: of the straight-through gradient.

    Raises:
        ValueError: for an unknown backbone, or a ratio outside (0, 1].
    """

    def __init__(
        self,
        *,
        backbone: str = "resnet50",
        frames: int,
        classes: int,
        ratio: float = 0.5,
        shift: bool = True,
        dropout: float = 0.5,
        ratio_weight: float = 0.5,
        warm_start: float = WARM_START,
        warm_end: float = WARM_END,
        end_temperature: float = 0.01,
        keep_bias: float = 10.0,
        shared_start: bool = False,
        zero_init: bool = True,
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        if backbone not in PRESETS:
            raise ValueError(f"AFNet has no backbone {backbone!r}; expected one of {', '.join(PRESETS)}")
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio is {ratio}; expected a number in (0, 1]")
        self.ratio = ratio
        self.ratio_weight = ratio_weight
        self.warm_start, self.warm_end = warm_start, warm_end
        self.end_temperature = end_temperature
        self.gumbel_noise = True
        self.temperature = 1.0
        preset = PRESETS[backbone]
        self.stem = nn.Sequential(
            nn.Conv2d(3, preset.width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(preset.width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        inputs = preset.width
        for stage, (blocks, stride) in enumerate(zip(preset.blocks[:3], (2, 2, 1), strict=True)):
            outputs = preset.width * 4 * 2**stage
            self.stages.append(AFModule(inputs, outputs, blocks=blocks, stride=stride, frames=frames, shift=shift))
            inputs = outputs
        shifting = frames if shift else 0
        self.tail = nn.Sequential(
            Block(inputs, 2 * inputs, stride=2, frames=shifting),
            *(Block(2 * inputs, 2 * inputs, frames=shifting) for _ in range(preset.blocks[3] - 1)),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * inputs, classes)
        self._initialise(zero_init)
        for navigation in self.navigations:
            navigation.start(keep_bias, shared=shared_start)

    def _initialise(self, zero_init: bool) -> None:
        """He initialisation of convolutions, small weights in gates and classifier."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, FusionGate):
                nn.init.normal_(module.reduce.weight, std=0.01)
                nn.init.normal_(module.expand.weight, std=0.01)
            if zero_init and isinstance(module, Block) and not isinstance(module, FocalBlock):
                nn.init.zeros_(module.residual.bn3.weight)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def train(self, mode: bool = True) -> AFNet:
        super().train(mode)
        self.gumbel_noise = mode
        return self

    @property
    def navigations(self) -> list[Navigation]:
        """Navigation modules in network order, one per focal block."""
        return [module for module in self.modules() if isinstance(module, Navigation)]

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W), sides multiples of 32 -> logits (N, K), selection.frames (blocks, N, T)."""
        self.check_clips(clips, SIDE_MULTIPLE)
        x = self.stem(clips.flatten(0, 1))  # (N*T, C, H/4, W/4)
        gates: list[Tensor] = []
        for stage in self.stages:
            assert isinstance(stage, AFModule)
            x = self._stage(stage, x, gates)
        pooled = self.tail(x).mean(dim=(2, 3))  # (N*T, C)
        logits = average_frames(self.classifier(self.dropout(pooled)), self.frames)
        stacked = torch.stack(gates)  # (blocks, N, T)
        return Output(logits, Selection(frames=stacked.detach() > 0.5), extras={"gates": stacked})

    def _stage(self, stage: AFModule, x: Tensor, gates: list[Tensor]) -> Tensor:
        """One AF module; appends the (N, T) gate of each of its focal blocks."""
        ample = focal = x
        for navigation, ample_block, focal_block in zip(stage.navigation, stage.ample, stage.focal, strict=True):
            assert isinstance(focal_block, FocalBlock)
            gate = self._decide(navigation(ample), block=len(gates))
            gates.append(gate)
            ample = ample_block(ample)
            focal = self._focal(focal_block, focal, gate.flatten())
        return stage.fuse(ample, focal)

    def _decide(self, logits: Tensor, block: int) -> Tensor:
        """(N, T, 2) logits -> (N, T) gate of 0 and 1."""
        if self.execution == "dense" and not self.training:
            return torch.ones_like(logits[..., 0])
        if self.forced is not None:
            return self.forced[block].to(logits.dtype)
        return decide(logits, noise=self.gumbel_noise, temperature=self.temperature)

    def _focal(self, block: FocalBlock, x: Tensor, gate: Tensor) -> Tensor:
        if self.training or self.execution == "masked":
            return block.masked(x, gate)
        if self.execution == "skipped":
            return block.skipped(x, gate > 0.5)
        return block(x)

    def prepare(self, progress: Progress) -> None:
        self.temperature = temperature(progress.fraction, end=self.end_temperature)

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropy + lambda * squared distance of each block's kept ratio to the scheduled target."""
        target = target_ratio(self.ratio, progress.fraction, start=self.warm_start, end=self.warm_end)
        return super().loss(output, labels, progress) + self.ratio_weight * ratio_loss(output.extras["gates"], target)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.classifier], navigation=self.navigations)

    def unit_modules(self) -> tuple[str, ...]:
        return tuple(f"{name}.residual" for name, module in self.named_modules() if isinstance(module, FocalBlock))

    def policy_modules(self) -> tuple[str, ...]:
        return tuple(name for name, module in self.named_modules() if isinstance(module, Navigation))
