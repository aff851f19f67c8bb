"""AR-Net: a resolution for each frame, or none.

Meng et al., "AR-Net: Adaptive Frame Resolution for Efficient Action Recognition", ECCV 2020; code mengyuest/AR-Net.

Faithful: a glance at the smallest size feeds an LSTM, which decides for each frame in turn among the resolutions, each
with its own network, the prediction from the LSTM's state, or skipping this frame and the next ones (1, 2 or 4 in all),
through which the state is held; hard
Gumbel-softmax, its temperature 5 * exp(-0.045 epoch) over the 50 epochs of the recipe; the prediction is the mean over
the frames that were not skipped; loss 0.95 cross-entropy + 0.05 (billions of multiply-adds + 3 x unbalanced use).

Different: costs are shares of the largest resolution's, so that the loss means the same for small networks; the
glance's own classifier learns on every frame. A skip saves no glance, here and in the released code, since the glance
sees all frames at once; published counts leave it out.

skipped runs each network on the frames that chose its resolution, one batch a resolution (the released code runs every
network on every frame, as masked does here). dense takes the largest resolution for every frame.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import Output, Progress, Selection, VideoModel, grouped_parameters
from baselines.contract import make_classifier
from baselines.looking import resized
from baselines.losses import each_step
from baselines.sampler import Glance, Recogniser

SKIPS = (1, 2, 4)
EPOCHS = 50
START_TEMPERATURE, TEMPERATURE_DECAY = 5.0, 0.045
EFFICIENCY_WEIGHT, BALANCE_WEIGHT = 0.05, 3.0


class ARNet(VideoModel):
    """A glance with an LSTM, and a network for each resolution.

    Args:
        backbone: network of the largest resolution.
        smaller: networks of the smaller ones.
        sizes: pixels a side of the resolutions, the largest first; as many as networks.
        frames: T.
        classes: K.
        glance: backbone of the glance.
        glance_size: pixels a side of what it sees.
        hidden: width of the LSTM.
        dropout: before the classifiers.

    Attributes:
        gumbel_noise: whether decisions are drawn; `train()` and `eval()` set it.
    """

    any_frames = True

    def __init__(
        self,
        *,
        backbone: str = "resnet50",
        smaller: tuple[str, ...] = ("resnet34", "resnet18"),
        sizes: tuple[int, ...] = (224, 168, 112),
        frames: int,
        classes: int,
        glance: str = "mobilenetv2",
        glance_size: int = 84,
        hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        names = (backbone, *smaller)
        if len(sizes) != len(names) or list(sizes) != sorted(set(sizes), reverse=True):
            raise ValueError(f"sizes are {sizes}; expected {len(names)}, one a network, the largest first")
        if glance_size in sizes:
            raise ValueError(
                f"glance_size is {glance_size}, as one of sizes {sizes}; expected another, to be told apart"
            )
        self.sizes, self.glance_size = sizes, glance_size
        networks = [Recogniser(name, frames=0, classes=classes, dropout=dropout) for name in names]
        self.networks = nn.ModuleList(networks)
        self.glance = Glance(glance, size=glance_size, frames=0)
        self.lstm = nn.LSTMCell(self.glance.features, hidden)
        self.own = nn.Sequential(nn.Dropout(dropout), make_classifier(hidden, classes))
        self.score = nn.Linear(hidden, len(names) + 1 + len(SKIPS))
        # Costs of the choices in shares of the first: work goes with the area.
        self.costs = [(size / sizes[0]) ** 2 for size in sizes] + [0.0] * (1 + len(SKIPS))
        self.gumbel_noise = True
        self.temperature = START_TEMPERATURE

    def train(self, mode: bool = True) -> ARNet:
        super().train(mode)
        self.gumbel_noise = mode
        return self

    def prepare(self, progress: Progress) -> None:
        self.temperature = START_TEMPERATURE * math.exp(-TEMPERATURE_DECAY * EPOCHS * progress.fraction)

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W) -> logits (N, K), selection.resolutions (N, T), 0 where skipped."""
        self.check_clips(clips, smallest=32)
        frames = clips.flatten(0, 1)
        glanced = self.glance(frames).unflatten(0, (len(clips), -1))  # (N, T, C)
        states, decided, free = self._decide(glanced)
        own = self.own(states.flatten(0, 1)).unflatten(0, (len(clips), -1))  # (N, T, K)
        choices = decided * free[..., None]
        if self.execution == "dense" and not self.training:
            largest = torch.zeros_like(choices[..., 0], dtype=torch.int64)
            choices = functional.one_hot(largest, choices.shape[2]).to(choices)
        elif self.forced.resolutions is not None:
            choices = self._forced_choices(choices)
        used = choices[..., : len(self.sizes) + 1]  # (N, T, resolutions and the glance)
        logits = self._predictions(frames, own.flatten(0, 1), used.flatten(0, 1)).unflatten(0, (len(clips), -1))
        counted = used.sum(dim=2, keepdim=True)
        mean = (logits * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)
        # A video of which everything is skipped gets what the glance says, which is computed in any case.
        mean = torch.where(counted.sum(dim=1) > 0, mean, own.mean(dim=1))
        pixels = used.new_tensor([*self.sizes, self.glance_size])
        resolutions = (used.detach() @ pixels).round().long()
        seen = (resolutions > 0)[None]
        return Output(mean, Selection(frames=seen, resolutions=resolutions), {"decided": decided, "own": own})

    def _decide(self, glanced: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, C) -> states (N, T, D), one-hot choices (N, T, options), and (N, T), 0 inside a skip, else 1.

        Inside a skip, state and choice are those with which it began.
        """
        videos = len(glanced)
        state = cell = glanced.new_zeros(videos, self.lstm.hidden_size)
        waiting = torch.zeros(videos, dtype=torch.int64, device=glanced.device)  # frames of a skip still to come
        lengths = torch.tensor([1] * (len(self.sizes) + 1) + list(SKIPS), device=glanced.device)
        choice = glanced.new_zeros(videos, len(lengths))
        found = []
        for t in range(self.frames):
            free = (waiting == 0).to(glanced.dtype)[:, None]
            held, before = state, choice
            state, cell = self.lstm(glanced[:, t], (state, cell))
            state = torch.where(free > 0, state, held)
            scores = self.score(state)
            if self.gumbel_noise:
                choice = functional.gumbel_softmax(scores, tau=self.temperature, hard=True)
            else:
                choice = functional.one_hot(scores.argmax(dim=1), scores.shape[1]).to(scores.dtype)
            choice = torch.where(free > 0, choice, before)
            found.append((state, choice, free[:, 0]))
            length = lengths[choice.argmax(dim=1)]
            waiting = torch.where(waiting > 0, waiting - 1, length - 1)
        states, choices, frees = (torch.stack(parts, dim=1) for parts in zip(*found, strict=True))
        return states, choices, frees

    def _forced_choices(self, like: Tensor) -> Tensor:
        pixels = [*self.sizes, self.glance_size]
        assert self.forced.resolutions is not None
        chosen = torch.stack([self.forced.resolutions == size for size in pixels], dim=2).to(like.dtype)
        return torch.cat([chosen, like.new_zeros(*like.shape[:2], len(SKIPS))], dim=2)

    def _predictions(self, frames: Tensor, own: Tensor, used: Tensor) -> Tensor:
        """(N*T, 3, H, W) frames, the glance's logits and (N*T, options) one-hot choices -> (N*T, K)."""
        logits = own * used[:, -1:]
        if self.execution != "skipped" or self.training:
            dense = self.execution == "dense" and not self.training
            for index, size in enumerate(self.sizes[:1] if dense else self.sizes):
                logits = logits + used[:, index, None] * self.networks[index](resized(frames, size), 1)
            return logits
        for index, (network, size) in enumerate(zip(self.networks, self.sizes, strict=True)):
            rows = used[:, index].nonzero().squeeze(1)
            if len(rows):
                logits.index_copy_(0, rows, network(resized(frames.index_select(0, rows), size), 1).to(logits.dtype))
        return logits

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropy of the clip and of the glance's frames, cost and balance of the choices."""
        use = output.extras["decided"].mean(dim=(0, 1))  # (options,), of sum 1: frames inside a skip count for it
        cost = (use * use.new_tensor(self.costs)).sum()
        unbalanced = (use - use.mean()).norm()
        efficiency = EFFICIENCY_WEIGHT * (cost + BALANCE_WEIGHT * unbalanced)
        entropy = super().loss(output, labels, progress)
        glance = each_step(output.extras["own"], labels)
        return (1 - EFFICIENCY_WEIGHT) * (entropy + glance) + efficiency

    def unit_modules(self) -> tuple[str, ...]:
        return tuple(f"networks.{index}" for index in range(len(self.sizes)))

    def policy_modules(self) -> tuple[str, ...]:
        return ("glance", "lstm", "score")

    def expected_units(self, height: int, width: int, ratio: float) -> tuple[float, ...]:
        """This share of the frames at the largest resolution, the others skipped."""
        return (ratio * self.frames, *(0.0 for _ in self.sizes[1:]))

    def example_selection(self, videos: int, ratio: float) -> Selection:
        kept = torch.arange(self.frames, device=self.score.weight.device) < round(ratio * self.frames)
        return Selection(resolutions=(kept * self.sizes[0]).expand(videos, -1))

    def kept_units(self, selection: Selection, height: int, width: int) -> Tensor:
        resolutions = selection.resolutions
        assert resolutions is not None
        return torch.stack([(resolutions == size).sum(dim=1) for size in self.sizes])

    def parameter_groups(self) -> list[dict[str, Any]]:
        heads = [*(network.get_submodule("classifier") for network in self.networks), self.own]
        return grouped_parameters(self, classifier=heads, policy=[self.lstm, self.score])
