"""The AF module: an ample branch that looks at every frame, a focal branch that cares for a few, and their fusion.

b - 1 pairs of an ample and a focal block, each pair with its navigation, then one fusion block:

    x ---> ample_1 --> ... --> ample_(b-1)   half the side, few channels --- project, upsample --+
      \\       | navigation_2                                                                    gate --> fusion block
       +-> focal_1 --> ... --> focal_(b-1)   full side, all channels, kept frames only ----------+

Navigation reads ample features only, so all decisions of a module are known before its first focal block runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.blocks import FocalBlock
from afnet.contract import Execution
from afnet.execution import kept_rows
from afnet.spatial import SpatialFocalBlock, spread

Fusion = Literal["gate", "sum", "ample", "focal"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)


@dataclass(frozen=True)
class Decision:
    """What is decided for one focal block.

    Attributes:
        frames: (N, T) float weights: 0 and 1, or anything between where weights are soft.
        cells: (N, T, grid, grid) float, or None where whole frames are computed.
        rows: (k,) int64 of the kept rows of N*T where they are known without asking the device; None where not.
    """

    frames: Tensor
    cells: Tensor | None = None
    rows: Tensor | None = None


class FusionGate(nn.Module):
    """a = sigmoid(W2 relu(W1 pool(ample + focal))); out = a * ample + (1 - a) * focal (paper, equation 8).

    ample is spread to focal's size first, by nearest neighbour.
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = False) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.reduce = nn.Linear(channels, hidden, bias=bias)
        self.expand = nn.Linear(hidden, channels, bias=bias)

    def forward(self, ample: Tensor, focal: Tensor) -> Tensor:
        """ample (B, C, h, w), focal (B, C, H, W) -> (B, C, H, W)."""
        ample = upsampled(ample, focal)
        # The mean of the sum, without making the sum.
        weight = self.weight(ample.mean(dim=(2, 3)) + focal.mean(dim=(2, 3)))
        return torch.lerp(focal, ample, weight[:, :, None, None])

    def weight(self, pooled: Tensor) -> Tensor:
        """(B, C) means -> (B, C) weights of ample."""
        return torch.sigmoid(self.expand(functional.relu(self.reduce(pooled))))


def upsampled(ample: Tensor, focal: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W), the size of focal, by nearest neighbour."""
    return functional.interpolate(ample, size=focal.shape[-2:], mode="nearest")


class AFModule(nn.Module):
    """One stage.

    Args:
        navigation: one a pair, or a single one whose decision all pairs of the stage share; none where the focal branch
            is left out.
        cells: as many, of cells; empty where whole frames are computed.
        ample, focal: the pairs; focal is empty in the ablation without focal branch.
        project: ample features to the focal branch's width.
        fusion: "gate" as published; "sum", "ample" and "focal" are ablations.
        block: after the fusion.
        relu: whether the fused features pass a ReLU.
    """

    def __init__(
        self,
        *,
        navigation: Sequence[nn.Module],
        cells: Sequence[nn.Module],
        ample: Sequence[nn.Module],
        focal: Sequence[nn.Module],
        project: nn.Module,
        channels: int,
        fusion: Fusion,
        block: nn.Module,
        relu: bool,
        gate_bias: bool = False,
    ) -> None:
        super().__init__()
        self.navigation = nn.ModuleList(navigation)
        self.cells = nn.ModuleList(cells)
        self.ample = nn.ModuleList(ample)
        self.focal = nn.ModuleList(focal)
        self.project = project
        self.gate = FusionGate(channels, bias=gate_bias) if fusion == "gate" else nn.Identity()
        self.kind = fusion
        self.fusion = block
        self.relu = relu

    def look(self, x: Tensor, decide: Callable[[Tensor, Tensor | None], Decision]) -> tuple[Tensor, list[Decision]]:
        """The ample branch with its navigation.

        Args:
            x: (N*T, C, H, W).
            decide: makes a decision of navigation's (N, T, 2) logits and (N*T, grid, grid, 2) logits of cells or None.

        Returns:
            The last ample features and one decision a focal block.
        """
        decisions: list[Decision] = []
        for i, block in enumerate(self.ample):
            if i < len(self.navigation):
                decisions.append(decide(self.navigation[i](x), self.cells[i](x) if i < len(self.cells) else None))
            elif self.focal:
                decisions.append(decisions[0])
            x = block(x)
        return x, decisions

    def care(self, x: Tensor, decisions: Sequence[Decision], execution: Execution, buckets: int = 0) -> Tensor:
        """The focal branch: (N*T, C, H, W) -> (N*T, D, H, W).

        Args:
            buckets: when not 0, as many numbers of computed rows occur at most (see rounded_up).
        """
        multiple = -(-len(x) // buckets) if buckets else 1
        skips = execution == "skipped"
        # Blocks of cells ask for pixels themselves; a module has blocks of one kind.
        asks = skips and not any(isinstance(block, SpatialFocalBlock) for block in self.focal)
        rows = _rows(decisions) if asks else [None] * len(decisions)
        for block, decision, kept in zip(self.focal, decisions, rows, strict=True):
            if execution == "dense":
                x = block(x)
            elif isinstance(block, SpatialFocalBlock):
                cells = _cells(decision)
                x = block.skipped_cells(x, cells) if skips else block.masked_cells(x, spread(cells, *x.shape[-2:]))
            else:
                assert isinstance(block, FocalBlock)
                x = block.masked(x, decision.frames.flatten()) if kept is None else block.skipped(x, kept, multiple)
        return x

    def fuse(self, ample: Tensor, focal: Tensor) -> Tensor:
        """ample (B, C', h, w), focal (B, C, H, W) -> the module's output (B, C, H / stride, W / stride).

        Without focal branch `focal` is the module's input, of which only the size is used.
        """
        if self.kind == "gate":
            fused = self.gate(self.project(ample), focal)
        elif self.kind == "focal":
            fused = focal
        else:
            fused = upsampled(self.project(ample), focal)
            fused = fused + focal if self.kind == "sum" else fused
        # In place where the tensor is this method's own.
        return self.fusion(functional.relu(fused, inplace=self.kind != "focal") if self.relu else fused)


def _rows(decisions: Sequence[Decision]) -> list[Tensor]:
    """The kept rows of each decision, asking the device at most once for all."""
    known = [decision.rows for decision in decisions]
    asked = [decision.frames.flatten() > 0.5 for decision in decisions if decision.rows is None]
    answers = iter(kept_rows(torch.stack(asked)) if asked else [])
    return [next(answers) if rows is None else rows for rows in known]


def _cells(decision: Decision) -> Tensor:
    """(N*T, grid, grid): the frame's weight times the cell's."""
    assert decision.cells is not None
    return decision.frames.view(-1, 1, 1) * decision.cells.flatten(0, 1)
