"""Cells of the kept frames: in which stages, and how many of them."""

from __future__ import annotations

from typing import Any

from bench.data.catalogue import DIGITS, find_dataset
from bench.errors import UserError
from bench.experiment import Experiment
from sweeps.recipes.bases import SMALL, base, shortened, trained

STAGES = ("1", "2", "1-2", "1-3")
CELL_RATIOS = (0.75, 0.5, 0.25)
# What finds the digit in 400 steps (measured, docs/afnet.md).
FROM_SCRATCH: dict[str, Any] = {"cell_weight": 3.0, "cell_warm_start": 0.5, "cell_warm_end": 0.6}


def spatial(tiny: bool, dataset: str = DIGITS, backbone: str = "") -> list[Experiment]:
    """What does it save, and cost in accuracy, to compute only a part of the picture?

    `afbench sweep submit spatial`. AFNet at 8 frames, all of them kept: cells in stages 1, 2, 1-2 and 1-3, three
    quarters, half and a quarter of them, and none as the reference; then the same at ratio .5 without cells and with
    half of them in stages 1-2. 15 points, each trained on its own; estimate for digits in motion: 15 minutes on 2 CPU
    cores; for ResNet-50 at 224 pixels a GPU.

    Expect the digit's region to be found and no multiply-adds saved on the small network, where cells' navigation costs
    more than they do; in AF-ResNet50 half of the cells of stages 1-2 leave out 7.6% (docs/afnet.md).
    """
    start = base("afnet", dataset, backbone)
    if start.model.backbone == "mobilenetv3":
        raise UserError(
            "AFNet on mobilenetv3 has no cells: its squeeze-excites see whole frames. Expected another backbone."
        )
    cells: dict[str, Any] = FROM_SCRATCH if find_dataset(dataset).generated or start.model.backbone in SMALL else {}
    if start.model.backbone in SMALL:
        # Maps of 16, 8 and 4 pixels are divided by 4, not by the published 7.
        cells = {**cells, "grid": 4}
    points = [trained(start, ratio=1.0)]
    for stages in STAGES:
        points += [trained(start, ratio=1.0, spatial=stages, cell_ratio=share, **cells) for share in CELL_RATIOS]
    points += [start, trained(start, spatial="1-2", cell_ratio=0.5, **cells)]
    return [shortened(point) for point in points] if tiny else points
