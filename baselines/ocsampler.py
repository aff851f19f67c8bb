"""OCSampler: the best k frames in one shot.

Lin et al., "OCSampler: Compressing Videos to One Clip with Single-step Sampling", CVPR 2022; code MCG-NJU/OCSampler.

Faithful: a TSM-MobileNetV2 glances at T small frames and gives one distribution over them; k frames are drawn without
replacement while training and are the likeliest ones in evaluation; the reward is the gain in confidence of the frames'
logits over frames drawn segment by segment (the released code's reward 2), the policy's gradient is REINFORCE's with an
entropy bonus; the recogniser first learns on segment-wise frames and is left alone while the policy learns.

Different: both stages happen in one run (`explore` says when the first one ends) where the paper starts from a
FrameExit checkpoint; the probability of a draw is that of its order, not the sum over all orders; the recogniser may
shift channels among the k frames and goes on learning with the policy where `joint` says so (the paper's `final_loss`).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Output, Progress, grouped_parameters
from baselines.looking import best_frames, random_frames
from baselines.losses import label_probability
from baselines.sampler import Choice, FrameSampler, Glance


class OCSampler(FrameSampler):
    """A recogniser on the k of T frames that a policy likes best.

    Args:
        glance: backbone of the policy.
        glance_size: pixels a side of what it sees.
        explore: share of the run in which the recogniser learns on segment-wise frames and the policy not at all.
        joint: whether the recogniser learns on the policy's frames afterwards.
        entropy: weight of the bonus for undecided policies.
        reward: "frames" as published; "label", the gain in the label's probability after the mean over frames. Where
            frames with something in them are often taken for a wrong class, as early in a training from scratch, the
            published reward prefers frames without anything, on which no class is likely.
        others: of FrameSampler.
    """

    def __init__(
        self,
        *,
        glance: str = "mobilenetv2",
        glance_size: int = 128,
        explore: float = 0.5,
        joint: bool = False,
        entropy: float = 0.1,
        reward: Literal["frames", "label"] = "frames",
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.glance = Glance(glance, size=glance_size, frames=self.frames)
        self.glance_classifier = nn.Linear(self.glance.features, self.classes)
        self.policy = nn.Linear(self.glance.features, 1)
        nn.init.zeros_(self.policy.weight)
        self.explore, self.joint, self.entropy = explore, joint, entropy
        self.reward = {"frames": reward_of_frames, "label": reward_of_label}[reward]
        self.exploring = False

    def choose(self, clips: Tensor) -> Choice:
        features = self.glance(clips.flatten(0, 1))  # (N*T, C)
        scores = self.policy(features).view(len(clips), self.frames)
        if not self.training:
            return Choice(best_frames(scores, self.kept))
        extras = {"glance_logits": self.glance_classifier(features).unflatten(0, (-1, self.frames)).mean(dim=1)}
        base = random_frames(len(clips), self.frames, self.kept, clips.device)
        if self.exploring:
            return Choice(base, extras)
        drawn, log_probability = draw_in_order(scores, self.kept)
        extras |= {"log_probability": log_probability, "scores": scores}
        extras["base_logits"] = self.recognise(clips, base)
        return Choice(drawn.sort(dim=1).values, extras)

    def recognise(self, clips: Tensor, chosen: Tensor) -> Tensor:
        """As FrameSampler's; without gradient where the recogniser is left alone."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and (self.exploring or self.joint)):
            return super().recognise(clips, chosen)

    def prepare(self, progress: Progress) -> None:
        self.exploring = progress.fraction < self.explore
        # Left alone, its batch-norms count on what they know.
        self.recogniser.train(self.training and (self.exploring or self.joint))

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        extras = output.extras
        loss = functional.cross_entropy(extras["glance_logits"], labels)
        if "base_logits" not in extras:
            return loss + super().loss(output, labels, progress)
        gain = self.reward(extras["frame_logits"], labels) - self.reward(extras["base_logits"], labels)
        scores = extras["scores"].log_softmax(dim=1)
        entropy = -(scores.exp() * scores).sum(dim=1)
        loss = loss - (gain * extras["log_probability"] + self.entropy * entropy).mean()
        if self.joint:
            base = functional.cross_entropy(extras["base_logits"].mean(dim=1), labels)
            loss = loss + (super().loss(output, labels, progress) + base) / 2
        return loss

    def policy_modules(self) -> tuple[str, ...]:
        return ("glance", "policy")

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.recogniser.classifier, self.glance_classifier])


def draw_in_order(scores: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """Draw without replacement, with probabilities softmax(scores), (N, T).

    Returns:
        (N, wanted) int64 in the order drawn, and (N,) the log-probability of that order: of each draw among those left.
    """
    noise = -torch.empty_like(scores).exponential_().log()  # Gumbel
    order = (scores.detach() + noise).sort(dim=1, descending=True).indices
    ranked = scores.gather(1, order)
    left = ranked.flip(1).logcumsumexp(dim=1).flip(1)  # log of the sum over those not drawn yet
    return order[:, :wanted], (ranked - left)[:, :wanted].sum(dim=1)


@torch.no_grad()
def reward_of_frames(frame_logits: Tensor, labels: Tensor) -> Tensor:
    """(N, k, K) -> (N,): the label's probability where it is the largest, else how far it is below, over the frames."""
    largest, found = frame_logits.softmax(dim=2).max(dim=2)
    of_label = label_probability(frame_logits, labels)
    return torch.where(found == labels[:, None], largest, of_label - largest).mean(dim=1)


@torch.no_grad()
def reward_of_label(frame_logits: Tensor, labels: Tensor) -> Tensor:
    """(N, k, K) -> (N,): the label's probability after the mean over the frames."""
    return label_probability(frame_logits.mean(dim=1, keepdim=True), labels).squeeze(1)
