"""AFNet: cheap ample features of all frames, focal features of the frames navigation keeps.

Zhang et al., "Look More but Care Less in Video Recognition", NeurIPS 2022. N videos, T frames, K classes; frames travel
as (N*T, C, H, W). afnet/module.py shows one AF module, afnet/backbones.py what a network is built of.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod
from typing import Any, Self

import torch
from torch import Tensor, nn

from afnet.backbones import MOBILENET, Design, build
from afnet.blocks import Block, FocalBlock
from afnet.contract import (
    Execution,
    Output,
    Progress,
    Selection,
    VideoModel,
    average_frames,
    grouped_parameters,
    he_initialise,
)
from afnet.execution import budget_rows
from afnet.module import AFModule, Decision, FusionGate
from afnet.navigation import FixedNavigation, Navigation, decide
from afnet.schedules import (
    WARM_END,
    WARM_START,
    RatioSchedule,
    TemperatureSchedule,
    cell_ratio_loss,
    ratio_loss,
    target_ratio,
    temperature,
)
from afnet.spatial import CellNavigation, SpatialFocalBlock, cell_areas

# Below this the last stage has no pixel left to stride over.
SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Recipe:
    """How the decisions are trained; the defaults are the paper's.

    Attributes:
        ratio: RT, the share of frames per block that training aims at, in (0, 1].
        ratio_weight: lambda, the weight of the loss on the ratio.
        ratio_schedule, warm_start, warm_end: how the target falls from 1 to `ratio` between two shares of the run.
        temperature_schedule, start_temperature, end_temperature: of the Gumbel-softmax.
        hard: decisions of 0 or 1; soft weights otherwise, with which nothing can be skipped.
        keep_bias: navigation's initial logit of keep, against 1 of drop.
        alike_start: all frame positions of a navigation start from the same map (see Navigation.start).
        zero_init: the last batch-norm of every dense bottleneck starts at zero, as published for networks that start
            from ImageNet weights; a short training from scratch learns faster without.
        cell_ratio, cell_weight, cell_warm_start, cell_warm_end: the same for the cells of kept frames.
    """

    ratio: float = 0.5
    ratio_weight: float = 0.5
    ratio_schedule: RatioSchedule = "steps"
    warm_start: float = WARM_START
    warm_end: float = WARM_END
    temperature_schedule: TemperatureSchedule = "exponential"
    start_temperature: float = 1.0
    end_temperature: float = 0.01
    hard: bool = True
    keep_bias: float = 10.0
    alike_start: bool = False
    zero_init: bool = True
    cell_ratio: float = 0.5
    cell_weight: float = 0.5
    cell_warm_start: float = WARM_START
    cell_warm_end: float = WARM_END

    def __post_init__(self) -> None:
        for name in ("ratio", "cell_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number in (0, 1]")


class AFNet(VideoModel):
    """AFNet on a backbone of afnet.backbones.BACKBONES.

    Args:
        backbone: its name.
        frames: T.
        classes: K.
        dropout: before the classifier.
        settings: any field of Design (what the network is made of) and Recipe (how its decisions are trained).

    Attributes:
        gumbel_noise: whether decisions are drawn (training) or taken by argmax (evaluation); `train()` and `eval()`
            set it, an assignment after them overrides it.
        temperature: of the straight-through gradient.
        budget: frames of each video that every focal block computes in evaluation, those navigation prefers most, in
            place of navigation's own number; None leaves the number to navigation. Shapes are then static.
        buckets: sizes that the number of kept frames is rounded up to when skipping, 0 for none (see
            afnet.execution.rounded_up). The rows added are computed, and no cost model knows of them.

    Raises:
        ValueError: for an unknown backbone or setting, or a value outside its range.
    """

    def __init__(
        self, *, backbone: str = "resnet50", frames: int, classes: int, dropout: float = 0.5, **settings: Any
    ) -> None:
        super().__init__(frames=frames, classes=classes)
        design, recipe = ({f.name for f in fields(kind)} for kind in (Design, Recipe))
        for name in settings:
            if name not in design | recipe:
                raise ValueError(f"AFNet has no setting {name!r}; expected one of {', '.join(sorted(design | recipe))}")
        self.backbone = backbone
        self.design = Design(**{name: value for name, value in settings.items() if name in design})
        self.recipe = Recipe(**{name: value for name, value in settings.items() if name in recipe})
        self.any_frames = self.design.navigation != "learned" or self.design.context != "position"
        self.gumbel_noise = True
        self.temperature = 1.0
        self.budget: int | None = None
        self.buckets = 0
        parts = build(
            backbone, frames=frames, classes=classes, dropout=dropout, ratio=self.recipe.ratio, design=self.design
        )
        self.stem, self.tail, self.classifier = parts.stem, parts.tail, parts.classifier
        self.stages = nn.ModuleList(parts.stages)
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation of convolutions, small weights in gates and classifier, navigation at keep."""
        recipe = self.recipe
        he_initialise(self)
        if recipe.zero_init and self.backbone != MOBILENET:
            for module in self.modules():
                if isinstance(module, Block) and not isinstance(module, FocalBlock):
                    nn.init.zeros_(module.get_parameter("residual.bn3.weight"))
        for module in self.modules():
            if isinstance(module, FusionGate):
                nn.init.normal_(module.reduce.weight, std=0.01)
                nn.init.normal_(module.expand.weight, std=0.01)
            elif isinstance(module, Navigation):
                module.start(recipe.keep_bias, alike=recipe.alike_start)
            elif isinstance(module, CellNavigation):
                module.start(recipe.keep_bias)
        for module in self.classifier:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
                nn.init.zeros_(module.bias)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.gumbel_noise = mode
        return self

    def set_frames(self, frames: int) -> None:
        super().set_frames(frames)
        for module in self.modules():
            if (isinstance(module, Block) and module.frames) or isinstance(module, Navigation):
                module.frames = frames
            elif isinstance(module, FixedNavigation):
                module.set_frames(frames)

    @property
    def navigations(self) -> list[nn.Module]:
        """Everything that decides, in network order."""
        return [m for m in self.modules() if isinstance(m, (Navigation, FixedNavigation, CellNavigation))]

    @property
    def focal_blocks(self) -> dict[str, FocalBlock]:
        """The blocks that can be skipped, by name, in network order."""
        return {name: module for name, module in self.named_modules() if isinstance(module, FocalBlock)}

    def forward(self, clips: Tensor) -> Output:
        """clips (N, T, 3, H, W), sides of at least 32 -> logits (N, K), selection.frames (blocks, N, T)."""
        self.check_clips(clips, smallest=SMALLEST_SIDE)
        self._check_forced(len(clips))
        execution: Execution = self.execution
        if self.training or (execution == "skipped" and not self.recipe.hard):
            execution = "masked"
        x = self.stem(clips.flatten(0, 1))  # (N*T, C, H', W')
        decisions: list[Decision] = []
        for stage in self.stages:
            assert isinstance(stage, AFModule)
            ample, made = stage.look(x, _Decider(self, execution, len(decisions)))
            decisions += made
            x = stage.fuse(ample, stage.care(x, made, execution, self.buckets))
        features = self.tail(x).mean(dim=(2, 3))  # (N*T, C)
        logits = average_frames(self.classifier(features), self.frames)
        if not decisions:
            return Output(logits)
        return Output(logits, self._selection(decisions), extras=_extras(decisions))

    def _check_forced(self, videos: int) -> None:
        """Raise ValueError unless forced decisions are as many as there are to make."""
        if self.forced.frames is None and self.forced.cells is None:
            return
        frames = (len(self.focal_blocks), videos, self.frames)
        for name, shape in (("frames", frames), ("cells", (*frames, self.design.grid, self.design.grid))):
            value = getattr(self.forced, name)
            if value is None:
                continue
            if not isinstance(value, Tensor) or value.dtype != torch.bool:
                kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"forced.{name} is {kind}; expected a tensor of torch.bool")
            if value.shape != shape:
                raise ValueError(f"forced.{name} has shape {tuple(value.shape)}; this network and clips need {shape}")

    def _selection(self, decisions: list[Decision]) -> Selection:
        gates = torch.stack([decision.frames for decision in decisions]).detach()  # (blocks, N, T)
        frames = gates > 0.5 if self.recipe.hard else torch.ones_like(gates, dtype=torch.bool)
        if not self.design.spatial:
            return Selection(frames=frames)
        grid = self.design.grid
        full = frames.new_ones(*frames.shape[1:], grid, grid)
        # Soft weights leave nothing out, whatever they are.
        hard = self.recipe.hard
        cells = [full if d.cells is None or not hard else d.cells.detach() > 0.5 for d in decisions]
        return Selection(frames=frames, cells=torch.stack(cells) & frames[..., None, None])

    def prepare(self, progress: Progress) -> None:
        recipe = self.recipe
        self.temperature = temperature(
            progress.fraction,
            start=recipe.start_temperature,
            end=recipe.end_temperature,
            shape=recipe.temperature_schedule,
        )

    def loss(self, output: Output, labels: Tensor, progress: Progress) -> Tensor:
        """Cross-entropy + lambda * squared distance of each block's kept ratio to the scheduled target; cells alike."""
        loss = super().loss(output, labels, progress)
        recipe, gates, cells = self.recipe, output.extras.get("gates"), output.extras.get("cells")
        if gates is not None:
            target = target_ratio(
                recipe.ratio,
                progress.fraction,
                start=recipe.warm_start,
                end=recipe.warm_end,
                shape=recipe.ratio_schedule,
            )
            loss = loss + recipe.ratio_weight * ratio_loss(gates, target)
        if cells is not None:
            target = target_ratio(
                recipe.cell_ratio, progress.fraction, start=recipe.cell_warm_start, end=recipe.cell_warm_end
            )
            loss = loss + recipe.cell_weight * cell_ratio_loss(cells, output.extras["cell_gates"], target)
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_parameters(self, classifier=[self.classifier], navigation=self.navigations)

    def unit_modules(self) -> tuple[str, ...]:
        return tuple(f"{name}.residual" for name in self.focal_blocks)

    def policy_modules(self) -> tuple[str, ...]:
        kinds = (Navigation, CellNavigation)
        return tuple(name for name, module in self.named_modules() if isinstance(module, kinds))

    def cell_maps(self, height: int, width: int) -> dict[int, tuple[int, int]]:
        blocks = enumerate(self.focal_blocks.values())
        return {i: self._map(b, height, width) for i, b in blocks if isinstance(b, SpatialFocalBlock)}

    def all_units(self, height: int, width: int) -> tuple[int, ...]:
        """Pixels of the focal map in blocks that compute cells, whole frames in the others."""
        maps = self.cell_maps(height, width)
        return tuple(self.frames * prod(maps.get(block, (1,))) for block in range(len(self.focal_blocks)))

    def example_selection(self, videos: int, ratio: float) -> Selection:
        """In every block and video, round(ratio * T) frames drawn at random, all of their cells."""
        order = torch.rand(len(self.focal_blocks), videos, self.frames, generator=torch.Generator().manual_seed(0))
        frames = order.argsort(dim=2) < round(ratio * self.frames)
        frames = frames.to(next(self.parameters()).device)
        if not self.cell_maps(32, 32):
            return Selection(frames)
        grid = self.design.grid
        return Selection(frames, frames[..., None, None].expand(-1, -1, -1, grid, grid))

    def kept_units(self, selection: Selection, height: int, width: int) -> Tensor:
        kept = super().kept_units(selection, height, width)
        if selection.cells is None:
            return kept
        for number, sides in self.cell_maps(height, width).items():
            areas = cell_areas(self.design.grid, *sides).to(kept.device)
            kept[number] = (selection.cells[number] * areas).sum(dim=(1, 2, 3))
        return kept

    def _map(self, block: SpatialFocalBlock, height: int, width: int) -> tuple[int, int]:
        """Height and width of a block's map, for clips of this size."""
        stage = next(i for i, module in enumerate(self.stages) if block in module.modules())
        # The stem halves the side twice, the fusion blocks of stages 1 and 2 once each, each rounding up.
        for _ in range(2 + min(stage, 2)):
            height, width = -(-height // 2), -(-width // 2)
        return height, width


class _Decider:
    """Makes the decisions of one stage of one forward: forced, by budget, by navigation, or everything when dense."""

    def __init__(self, model: AFNet, execution: Execution, first: int) -> None:
        self.model, self.execution, self.block = model, execution, first

    def __call__(self, logits: Tensor, cell_logits: Tensor | None) -> Decision:
        """(N, T, 2) and (N*T, grid, grid, 2) logits -> the decision of the stage's next block."""
        model, block = self.model, self.block
        self.block += 1
        cells = None if cell_logits is None else self._cells(cell_logits, logits.shape[0], block)
        if self.execution == "dense":
            return Decision(torch.ones_like(logits[..., 0]), cells)
        if model.forced.frames is not None:
            return Decision(model.forced.frames[block].to(logits.dtype), cells)
        if model.budget is not None and not model.training:
            return self._within_budget(logits, cells)
        return Decision(
            decide(logits, noise=model.gumbel_noise, temperature=model.temperature, hard=model.recipe.hard), cells
        )

    def _cells(self, logits: Tensor, videos: int, block: int) -> Tensor:
        model = self.model
        if self.execution == "dense":
            cells = torch.ones_like(logits[..., 0])
        elif model.forced.cells is not None:
            return model.forced.cells[block].to(logits.dtype)
        else:
            cells = decide(logits, noise=model.gumbel_noise, temperature=model.temperature)
        return cells.unflatten(0, (videos, -1))

    def _within_budget(self, logits: Tensor, cells: Tensor | None) -> Decision:
        frames, budget = logits.shape[1], self.model.budget
        if not isinstance(budget, int) or not 0 <= budget <= frames:
            raise ValueError(f"budget is {budget!r}; expected a number of frames from 0 to {frames}")
        rows = budget_rows(logits, budget)
        gate = logits.new_zeros(logits.shape[0] * frames).index_fill_(0, rows, 1.0)
        return Decision(gate.view(-1, frames), cells, rows)


def _extras(decisions: list[Decision]) -> dict[str, Tensor]:
    """What the loss needs: gates (blocks, N, T); where there are cells, those and the gates of their blocks."""
    extras = {"gates": torch.stack([decision.frames for decision in decisions])}
    spatial = [decision for decision in decisions if decision.cells is not None]
    if spatial:
        extras["cells"] = torch.stack([decision.cells for decision in spatial if decision.cells is not None])
        extras["cell_gates"] = torch.stack([decision.frames for decision in spatial])
    return extras
