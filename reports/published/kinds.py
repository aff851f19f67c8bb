"""What printed names stand for, and which figures are of one kind (docs/published.md)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.data.known import KNOWN
from bench.experiment import Experiment
from bench.methods import find_method
from reports.labels import knobs_of
from reports.published.figures import Published


@dataclass(frozen=True)
class Printed:
    """What a source means by the name of a method.

    Attributes:
        method: in our registry.
        settings: of it, where they are not our defaults; the crop is taken from the resolution.
        frames: ours, for what is printed otherwise than as a number.
        trained_frames: where the network was trained with others than it is tested with; 0 is the same.
        clips: of a video; None where the source does not say, as for what follows.
        crops: of a clip.
        epochs: of training on the data set.
        weights: that training started from.
        drawn: whether the evaluation draws decisions with the noise of training.
        counts: what its multiply-adds are, where not those of convolutions and linear layers of all views.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, int] = field(default_factory=dict)
    trained_frames: int = 0
    clips: int | None = 1
    crops: int | None = 1
    epochs: int | None = None
    weights: str = "ImageNet"
    drawn: bool = False
    counts: str = ""


def _afnet(ratio: float, shift: bool) -> Printed:
    """The released code: 55 epochs, decisions drawn when it evaluates too, and a formula for multiply-adds."""
    counts = "a formula of the kept ratio, with pooling"
    return Printed("afnet", {"ratio": ratio, "shift": shift}, epochs=55, drawn=True, counts=counts)


def _adafocus_v2_tsm() -> Printed:
    """docs/rivals.md has the settings, by which our multiply-adds are those printed."""
    settings = {"per": "video", "head": "average", "glance_frames": 8, "hidden": 1024}
    return Printed("adafocus-v2", settings, frames={"8+12": 12}, epochs=50)


SCSAMPLER = {"keep": 10, "shift": False}
UNI = {"glance_frames": 16, "keep": 16, "hidden": 128, "shift": False}
BY_VIEW = "those of one view, with batch-norm (fvcore)"

# By source, then by name. A name that is not here matches nothing. Epochs are of the sources themselves: commands and
# names of checkpoints (TSM's e45 and e50; TSN's segment5) in their READMEs, of AFNet and FFN docs/afnet.md and
# docs/rivals.md.
NAMES: dict[str, dict[str, Printed]] = {
    "BeSpontaneous/AFNet-pytorch:README.md": {
        "TSN (AFNet authors)": Printed("tsn"),
        "TSM": Printed("tsm"),
        "AFNet RT=0.50": _afnet(0.5, False),
        "AFNet RT=0.25": _afnet(0.25, False),
        "AFNet-TSM RT=0.4": _afnet(0.4, True),
        "AFNet-TSM RT=0.8": _afnet(0.8, True),
        "AFNet-TSM RT=0.4 [README typo; paper Table 2 says RT=0.8]": _afnet(0.8, True),
    },
    "mit-han-lab/temporal-shift-module:README.md": {
        "TSM (center crop x 1 clip)": Printed("tsm", epochs=45),
        "TSM (full res x 2 clip)": Printed("tsm", clips=2, crops=3, epochs=45),
        "TSM uniform, 1-crop": Printed("tsm", epochs=50),
        "TSM uniform, 10-crop": Printed("tsm", crops=10, epochs=50),
        "TSN uniform, 1-crop": Printed("tsn", trained_frames=5, epochs=50),
        "TSN uniform, 10-crop": Printed("tsn", trained_frames=5, crops=10, epochs=50),
    },
    "BeSpontaneous/FFN-pytorch:README.md (4/8/16 frames; SlowFast 16/32/64)": {
        "TSM separate training": Printed("tsm", epochs=50),
        "TSM (train 16f, test other)": Printed("tsm", trained_frames=16, epochs=50),
        "TSM-FFN": Printed("ffn", trained_frames=16, epochs=50),
    },
    "open-mmlab/mmaction2:configs/recognition/tsm/README.md (commit 4d6c9347)": {
        "TSM (mmaction2, x3 crop)": Printed("tsm", clips=None, crops=3, counts=BY_VIEW),
        "TSM (mmaction2, x10 crop)": Printed("tsm", clips=None, crops=10, counts=BY_VIEW),
    },
    "open-mmlab/mmaction2:configs/recognition/tsn/README.md (commit 4d6c9347)": {
        f"TSN (mmaction2, train {count} seg, 25 clips x 10 crop)": Printed(
            "tsn", trained_frames=count, crops=10, counts=BY_VIEW
        )
        for count in (3, 5, 8, 16)
    },
    "LeapLabTHU/AdaFocusV2:Experiments on ActivityNet, FCVID and Mini-Kinetics/README.md": {
        "AdaFocusV2": Printed("adafocus-v2", {"shift": False}, epochs=50),
    },
    "LeapLabTHU/AdaFocusV2:Experiments on Sth-Sth and Jester/README.md": {"AdaFocusV2-TSM": _adafocus_v2_tsm()},
    (
        "AdaFocusV2 paper Table 2, LeapLabTHU/AdaFocusV2:figure/vsv1.png (train wall-time on 4x RTX 3090 in hardware "
        "col)"
    ): {f"AdaFocusV1-MN2/RN ({side}^2)": Printed("adafocus", {"shift": False}) for side in (96, 128, 160)},
    "LeapLabTHU/Uni-AdaFocus:Uni-AdaFocus with Experiments on ActivityNet, FCVID and Mini-Kinetics/README.md": {
        "Uni-AdaFocus w/o sample-wise dynamic": Printed("uni-adafocus", UNI, frames={"16+16": 48}, epochs=50),
    },
    "mengyuest/AR-Net:full_test.sh": {
        "SCSampler (AR-Net reimpl., top-10 of 16)": Printed("scsampler", SCSAMPLER),
        "TSN uniform baseline": Printed("tsn"),
        "TSN uniform, new training": Printed("tsn"),
        "AR-Net(ResNet)": Printed("arnet"),
        "AR-Net(ResNet), new training": Printed("arnet"),
    },
}
# Printed data set: ours. What is called Mini-Kinetics has 121 thousand training videos in all of these papers.
DATASETS = {
    "Something-Something V1": "something-something-v1",
    "Something-Something V2": "something-something-v2",
    "Jester": "jester",
    "ActivityNet-v1.3": "activitynet",
    "FCVID": "fcvid",
    "Mini-Kinetics": "mini-kinetics",
    "Kinetics-400": "kinetics-400",
}
# Printed network: ours, and the glance's.
BACKBONES = {
    "ResNet50": ("resnet50", ""),
    "ResNet101": ("resnet101", ""),
    "MobileNetV2": ("mobilenetv2", ""),
    "AF-ResNet50": ("resnet50", ""),
    "AF-ResNet101": ("resnet101", ""),
    "AF-MobileNetV3": ("mobilenetv3", ""),
    "MobileNetV2+ResNet50": ("resnet50", "mobilenetv2"),
    "MobileNetV2@84+R50@224": ("resnet50", "mobilenetv2"),
    "MobileNetV2@84+R50@224/R34@168/R18@112": ("resnet50", "mobilenetv2"),
    "MobileNetV2@84+R50/34/18": ("resnet50", "mobilenetv2"),
}
# Of the input, and of the crops, in pixels. AR-Net's smaller sides are our defaults.
RESOLUTION = re.compile(r"(\d+)(?:\+(\d+) patch|/168/112/84)?")
# Settings of a training, which leave what the trained network is, decides and computes as it is. Those of cells do
# nothing in a network without them, and `spatial` says whether it has any.
OF_TRAINING = {
    "dropout",
    *("ratio_weight", "ratio_schedule", "warm_start", "warm_end", "keep_bias", "alike_start", "zero_init"),
    *("temperature_schedule", "start_temperature", "end_temperature", "draws"),
    *("grid", "cell_ratio", "cell_weight", "cell_warm_start", "cell_warm_end"),
    *("explore", "policy_from", "classifier_from"),
}


@dataclass(frozen=True)
class Kind:
    """What must be the same for two figures to stand side by side."""

    method: str
    backbone: str
    dataset: str
    frames: int
    trained_frames: int
    size: int
    settings: tuple[tuple[str, Any], ...]


def _fixed(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in settings.items() if name not in OF_TRAINING))


def kind_of_published(figure: Published) -> Kind | None:
    """None where a name, network, data set, number of frames or size is not known, or not printed."""
    printed = NAMES.get(figure.source, {}).get(figure.method)
    backbone, glance = BACKBONES.get(figure.backbone, ("", ""))
    sides = RESOLUTION.fullmatch(figure.resolution)
    if printed is None or not backbone or sides is None or figure.dataset not in DATASETS:
        return None
    frames = int(figure.frames) if figure.frames.isdecimal() else printed.frames.get(figure.frames, 0)
    settings = dataclasses.asdict(find_method(printed.method).settings(**printed.settings))
    if not frames or (sides[2] is not None) != ("patch" in settings) or (glance != "") != ("glance" in settings):
        return None
    # Without a glance or crops there is nothing to overwrite.
    settings |= {"glance": glance} if glance else {}
    settings |= {"patch": int(sides[2])} if sides[2] else {}
    trained = printed.trained_frames or frames
    dataset = DATASETS[figure.dataset]
    return Kind(printed.method, backbone, dataset, frames, trained, int(sides[1]), _fixed(settings))


def kind_of(experiment: Experiment) -> Kind | None:
    """None where the point is of no published kind: its decisions ignored, overruled, or other classes."""
    method, dataset = find_method(experiment.model.method), experiment.data.dataset
    if dataset not in KNOWN or experiment.data.classes != KNOWN[dataset].classes:
        return None
    overruled = experiment.evaluation.budget and "keep" not in experiment.model.settings.knobs()
    ignored = method.skips and experiment.evaluation.execution == "dense"
    if overruled or ignored:
        return None
    settings = dataclasses.asdict(experiment.model.settings) | knobs_of(experiment)
    return Kind(
        experiment.model.method,
        experiment.model.backbone,
        dataset,
        experiment.evaluation.frames,
        experiment.model.frames,
        experiment.data.size,
        _fixed(settings),
    )
