"""SCSampler: the k frames on which a light classifier is the most confident.

Korbar et al., "SCSampler: Sampling Salient Clips from Video for Efficient Action Recognition", ICCV 2019, in the form
that AR-Net and AdaFocus compare with: MobileNetV2 at 84 pixels scores 16 frames, the heavy network sees the best 10.

Faithful: saliency is the largest class probability of the light network on each frame; both networks learn from the
video's label. Different: frames instead of short clips, and no ranking loss; both networks learn in one run, the heavy
one on segment-wise frames at first (`explore`) and on its own choice afterwards.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from afnet.contract import Output, Progress, grouped_parameters
from baselines.looking import best_frames, random_frames
from baselines.losses import each_step
from baselines.sampler import Choice, FrameSampler, Glance


class SCSampler(FrameSampler):
    """A recogniser on the k of T frames that a glance is sure of.

    Args:
        glance: backbone of the glance.
        glance_size: pixels a side of what it sees.
        explore: share of the run in which the recogniser learns on segment-wise frames.
        others: of FrameSampler.
    """

    def __init__(
        self, *, glance: str = "mobilenetv2", glance_size: int = 84, explore: float = 0.5, **others: Any
    ) -> None:
        super().__init__(**others)
        self.glance = Glance(glance, size=glance_size, frames=0)
        self.glance_classifier = nn.Linear(self.glance.features, self.classes)
        self.explore = explore
        self.exploring = False

    def choose(self, clips: Tensor) -> Choice:
        logits = self.glance_classifier(self.glance(clips.flatten(0, 1))).unflatten(0, (-1, self.frames))  # (N, T, K)
        if self.training and self.exploring:
            chosen = random_frames(len(clips), self.frames, self.kept, clips.device)
        else:
            chosen = best_frames(logits.detach().softmax(dim=2).amax(dim=2), self.kept)
        return Choice(chosen, {"glance_logits": logits})

    def prepare(self, progress: Progress) -> None:
        self.exploring = progress.fraction < self.explore

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropy of the recogniser, and of the glance on each frame."""
        return super().loss(output, labels, progress) + each_step(output.extras["glance_logits"], labels)

    def policy_modules(self) -> tuple[str, ...]:
        return ("glance", "glance_classifier")

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.recogniser.classifier, self.glance_classifier])
