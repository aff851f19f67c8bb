"""FFN: one temporal-shift network for several numbers of frames.

Zhang et al., "Frame Flexible Network", CVPR 2023; code BeSpontaneous/FFN-pytorch.

Faithful: the convolutions are shared, each number of frames has batch-norms of its own and a depthwise 1x1 adaptation
before the first convolution of each block, added to its input; the longest sequence learns from the label, the shorter
ones from the longest one's prediction (Kullback-Leibler); at test time one number is picked.

Different: a depthwise 1x1 convolution is a factor a channel, so it is applied as one; the sequences of a step are
segments' middles of the longest one, not draws of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Output, Progress, VideoModel, average_frames, grouped_parameters
from afnet.inference import freeze
from baselines.contract import ResidualBlock, make_classifier
from baselines.looking import spread_frames
from baselines.resnet import ResNet


class Switched(nn.Module):
    """A batch-norm for each number of frames; one at a time is in use."""

    def __init__(self, norm: nn.BatchNorm2d, counts: tuple[int, ...]) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({str(count): nn.BatchNorm2d(norm.num_features) for count in counts})
        self.frames = counts[-1]

    @property
    def norm(self) -> nn.Module:
        return self.norms[str(self.frames)]

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Adapted(nn.Module):
    """A convolution whose input is first adapted to the number of frames: conv(x + w * x), w one factor a channel."""

    def __init__(self, conv: nn.Conv2d, counts: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = conv
        self.factors = nn.ParameterDict({str(n): 1e-3 * torch.randn(conv.in_channels) for n in counts})
        self.frames = counts[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x * (1 + self.factors[str(self.frames)])[:, None, None])


class FFN(VideoModel):
    """TSM for each of several numbers of frames.

    Args:
        backbone: a ResNet.
        frames: T of training, the longest.
        classes: K.
        counts: the numbers of frames it serves, ascending, the last one T.
        dropout: before the classifier.

    Raises:
        ValueError: for counts that do not end in T.
    """

    def __init__(
        self,
        *,
        backbone: str = "resnet50",
        frames: int,
        classes: int,
        counts: tuple[int, ...] = (4, 8, 16),
        dropout: float = 0.5,
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        if list(counts) != sorted(set(counts)) or not counts or frames != counts[-1]:
            raise ValueError(f"counts are {counts} and frames {frames}; expected ascending numbers, frames the last")
        self.counts = counts
        self.backbone = ResNet(backbone, frames=frames)
        for module in list(self.backbone.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, Switched(child, counts))
                elif isinstance(module, ResidualBlock) and isinstance(child, nn.Conv2d) and name == "conv1":
                    setattr(module, name, Adapted(child, counts))
        self.dropout = nn.Dropout(dropout)
        self.classifier = make_classifier(self.backbone.features, classes)

    def set_frames(self, frames: int) -> None:
        if frames not in self.counts or (self.optimised and frames != self.frames):
            valid = (self.frames,) if self.optimised else self.counts
            raise ValueError(f"this FFN serves {', '.join(map(str, valid))} frames; got {frames}")
        self.frames = frames
        self._use(frames)

    def _use(self, frames: int) -> None:
        self.backbone.set_frames(frames)
        for module in self.modules():
            if isinstance(module, (Switched, Adapted)):
                module.frames = frames

    def _logits(self, clips: Tensor, frames: int) -> Tensor:
        """(N, T, 3, H, W) -> (N, K), from `frames` of the T."""
        self._use(frames)
        if frames < clips.shape[1]:
            clips = clips.index_select(1, spread_frames(clips.shape[1], frames).to(clips.device))
        logits = self.classifier(self.dropout(self.backbone(clips.flatten(0, 1))))
        return average_frames(logits, frames)

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K)."""
        self.check_clips(clips, smallest=32)
        if not self.training:
            return Output(self._logits(clips, self.frames) if not self.optimised else self._settled(clips))
        shorter = {str(n): self._logits(clips, n) for n in self.counts if n < self.frames}
        return Output(self._logits(clips, self.frames), extras=shorter)

    def _settled(self, clips: Tensor) -> Tensor:
        return average_frames(self.classifier(self.backbone(clips.flatten(0, 1))), self.frames)

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropy of the longest sequence, divergence of the shorter ones from it."""
        teacher = output.logits.detach().softmax(dim=1)
        student = [
            functional.kl_div(x.log_softmax(dim=1), teacher, reduction="batchmean") for x in output.extras.values()
        ]
        return super().loss(output, labels, progress) + sum(student, labels.new_zeros((), dtype=teacher.dtype))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.classifier])


@freeze.register
def _(model: FFN) -> nn.Module:
    """For the number of frames that it has: its batch-norms, its factors in the weights."""
    model._use(model.frames)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Switched):
                setattr(module, name, child.norm)
            elif isinstance(child, Adapted):
                with torch.no_grad():
                    child.conv.weight.mul_((1 + child.factors[str(child.frames)])[:, None, None])
                setattr(module, name, child.conv)
    return freeze.dispatch(nn.Module)(model)
