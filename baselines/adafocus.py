"""AdaFocus (V1): where to look, by reinforcement learning over 49 places.

Wang et al., "Adaptive Focus for Efficient Video Recognition", ICCV 2021; code blackfeather-wang/AdaFocus.

Faithful: a glance over whole frames; a policy (1x1 convolution to 32 channels, a layer, a GRU) that picks one of 7x7
places for each frame in turn; a focus on the crop there; a recurrent classifier on both features, a prediction a frame.
Three stages (section 3.3): everything but the policy learns on crops at random; the policy alone learns by proximal
policy optimisation, the reward of a frame being how much surer of the label its crop makes the classifier than a random
crop would, discounted by 0.7 along the clip; focus and glance fixed, the classifier learns on the policy's crops.

Different: the stages are shares of one run (`stages`) instead of runs; networks start together, not from networks tuned
alone first; one pass of policy optimisation a batch, as the released code does, for which its clipping never acts; SGD
for the policy too, where the code has Adam at 3e-4. Where the focus shifts channels in time, the random crop that a
frame's reward compares with has random crops for neighbours too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Output, Progress, grouped_parameters
from baselines.contract import map_side
from baselines.cropper import CropSampler, GridPolicy
from baselines.looking import resized
from baselines.losses import each_step, label_probability
from baselines.sampler import Recogniser

GRID = 7
DISCOUNT = 0.7
VALUE_WEIGHT, ENTROPY_WEIGHT = 0.5, 0.01


class AdaFocus(CropSampler):
    """Glance, policy, focus, recurrent classifier.

    Args:
        glance: backbone of the glance.
        glance_size: pixels a side of what it sees.
        hidden: width of the policy and of the classifier.
        stages: shares of the run after which the second and the third stage begin.
        others: of CropSampler.
    """

    def __init__(
        self,
        *,
        glance: str = "mobilenetv2",
        glance_size: int = 224,
        hidden: int = 1024,
        stages: tuple[float, float] = (0.6, 0.8),
        **others: Any,
    ) -> None:
        super().__init__(**others)
        dropout = self.focus.dropout.p
        self.glance_size, self.stages = glance_size, stages
        self.glance = Recogniser(
            glance, frames=self.frames if self.focus.shifts else 0, classes=self.classes, dropout=dropout
        )
        features = self.glance.backbone.features + self.focus.backbone.features
        self.policy = Policy(self.glance.backbone.channels, map_side(glance_size) ** 2, hidden)
        self.classifier = nn.GRU(features, hidden, batch_first=True)
        self.last = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, self.classes))
        self.stage = 1

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K), selection.crops (N, T, 4)."""
        self.check_clips(clips)
        maps = self.glance.maps(resized(clips.flatten(0, 1), self.glance_size), self.frames)
        glanced = self.glance.backbone.pooled(maps).unflatten(0, (len(clips), -1))  # (N, T, C)
        if self.training and self.stage == 1:
            boxes = self.boxes(places(self._drawn(clips)), clips)
            joint, extras = self._classify(self._focus(clips, boxes), glanced)
            return Output(joint[:, -1], self.looked(boxes, clips), extras)
        scores, values = self.policy(maps.detach(), len(clips))  # (N, T, 49), (N, T)
        draws = self.training and self.stage == 2
        chosen = torch.distributions.Categorical(logits=scores).sample() if draws else scores.argmax(dim=2)
        boxes = self.boxes(places(chosen).to(clips.dtype), clips)
        focused = self._focus(clips, boxes)
        joint, extras = self._classify(focused, glanced)
        if draws:
            random = self._focus(clips, self.boxes(places(self._drawn(clips)), clips))
            extras |= {
                "scores": scores,
                "values": values,
                "chosen": chosen,
                "instead": self._instead(random, focused, glanced),
            }
        return Output(joint[:, -1], self.looked(boxes, clips), extras)

    def _drawn(self, clips: Tensor) -> Tensor:
        return torch.randint(GRID * GRID, clips.shape[:2], device=clips.device)

    def _focus(self, clips: Tensor, boxes: Tensor) -> Tensor:
        """(N, T, D) features of crops."""
        return self.focus.features(self.seen(clips, boxes), self.frames).unflatten(0, (len(clips), -1))

    def _classify(self, focused: Tensor, glanced: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(N, T, D) and (N, T, C) -> (N, T, K) logits after each frame, and what the loss needs."""
        states, _ = self.classifier(torch.cat([glanced, focused], dim=2))
        joint = self.last(states if self.training else states[:, -1:])
        if not self.training:
            return joint, {}
        alone = [net.classifier(net.dropout(x)) for net, x in ((self.glance, glanced), (self.focus, focused))]
        return joint, {"joint": joint, "glanced": alone[0], "focused": alone[1]}

    @torch.no_grad()
    def _instead(self, random: Tensor, focused: Tensor, glanced: Tensor) -> Tensor:
        """(N, T, K) logits after each frame, had its crop been a random one and those before it the policy's."""
        states, _ = self.classifier(torch.cat([glanced, focused], dim=2))
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        inputs = torch.cat([glanced, random], dim=2)
        after, _ = self.classifier(inputs.flatten(0, 1)[:, None], before.flatten(0, 1)[None].contiguous())
        return self.last(after[:, 0]).unflatten(0, inputs.shape[:2])

    def prepare(self, progress: Progress) -> None:
        """Enter the stage of this step: who learns, and whose batch statistics count."""
        self.stage = 1 + sum(progress.fraction >= edge for edge in self.stages)
        learning = {1: (self.glance, self.focus, self.classifier, self.last), 2: (self.policy,)}
        learners = learning.get(self.stage, (self.classifier, self.last))
        for part in (self.glance, self.focus, self.classifier, self.last, self.policy):
            part.train(self.training and part in learners)
            part.requires_grad_(part in learners)

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        extras = output.extras
        if "scores" in extras:
            return self._policy_loss(extras, labels)
        loss = each_step(extras["joint"], labels)
        if self.stage == 1:
            loss = loss + each_step(extras["glanced"], labels) + each_step(extras["focused"], labels)
        return loss

    def _policy_loss(self, extras: dict[str, Tensor], labels: Tensor) -> Tensor:
        with torch.no_grad():
            gained, instead = (label_probability(extras[name], labels) for name in ("joint", "instead"))
            returns = discounted(gained - instead)
            returns = (returns - returns.mean()) / (returns.std() + 1e-5)
        distribution = torch.distributions.Categorical(logits=extras["scores"])
        advantage = returns - extras["values"].detach()
        gain = distribution.log_prob(extras["chosen"]) * advantage
        value = functional.mse_loss(extras["values"], returns)
        return -gain.mean() + VALUE_WEIGHT * value - ENTROPY_WEIGHT * distribution.entropy().mean()

    def policy_modules(self) -> tuple[str, ...]:
        return ("policy",)

    def parameter_groups(self) -> list[dict[str, Any]]:
        heads = [self.last, self.focus.classifier, self.glance.classifier]
        return grouped_parameters(self, classifier=heads, policy=[self.policy], glance=[self.glance.backbone])


class Policy(nn.Module):
    """Scores of the places for each frame, from it and those before it, and how much reward it expects."""

    def __init__(self, channels: int, cells: int, hidden: int) -> None:
        super().__init__()
        self.encode = GridPolicy(channels, cells, width=32, hidden=hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.place = nn.Linear(hidden, GRID * GRID)
        self.value = nn.Linear(hidden, 1)

    def forward(self, maps: Tensor, videos: int) -> tuple[Tensor, Tensor]:
        """(N*T, C, h, w) -> (N, T, 49) scores and (N, T) values, zeros in evaluation, which has no use for them."""
        states, _ = self.gru(self.encode(maps).unflatten(0, (videos, -1)))
        values = self.value(states).squeeze(2) if self.training else states.new_zeros(states.shape[:2])
        return self.place(states), values


def places(chosen: Tensor) -> Tensor:
    """(N, T) numbers of places, row by row -> (N, T, 2) corners (x, y) in 0..1."""
    return torch.stack([chosen % GRID, chosen // GRID], dim=-1).float() / (GRID - 1)


def discounted(rewards: Tensor) -> Tensor:
    """(N, T) rewards of frames -> (N, T), each with those after it, discounted."""
    total, sums = torch.zeros_like(rewards[:, 0]), []
    for reward in reversed(rewards.unbind(dim=1)):
        total = reward + DISCOUNT * total
        sums.append(total)
    return torch.stack(sums[::-1], dim=1)
