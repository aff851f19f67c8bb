"""The data sets of this field: what they are, what is published of them, where to ask for them. Imports no torch.

Sources of numbers, files and addresses: docs/datasets.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """One data set.

    Attributes:
        classes: K.
        videos: of each split, as published; fewer where some can no longer be had.
        metric: "top1" or "map".
        flip: "free" where a mirrored video keeps its label, "never" where its label may say left or right.
        parser: of its annotation files, in bench.data.annotations.
        annotations: these files, in words.
        media: what is downloaded, in words.
        template: of the frames that are published; "" where videos are.
        address: where to ask for it.
    """

    title: str
    classes: int
    videos: Mapping[str, int]
    metric: str
    flip: str
    parser: str
    annotations: str
    media: str
    template: str
    address: str


KNOWN: dict[str, Known] = {
    "something-something-v1": Known(
        title="Something-Something V1",
        classes=174,
        videos={"train": 86_017, "val": 11_522},
        metric="top1",
        flip="never",
        parser="semicolons",
        annotations="something-something-v1-labels.csv, -train.csv and -validation.csv",
        media="folders of JPEG frames at 12 frames a second",
        template="{:05d}.jpg",
        address="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    ),
    "something-something-v2": Known(
        title="Something-Something V2",
        classes=174,
        videos={"train": 168_913, "val": 24_777},
        metric="top1",
        flip="never",
        parser="templates",
        annotations="labels.json, train.json and validation.json",
        media="webm videos at 12 frames a second",
        template="",
        address="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    ),
    "jester": Known(
        title="Jester",
        classes=27,
        videos={"train": 118_562, "val": 14_787},
        metric="top1",
        flip="never",
        parser="semicolons",
        annotations="jester-v1-labels.csv, -train.csv and -validation.csv",
        media="folders of JPEG frames at 12 frames a second",
        template="{:05d}.jpg",
        address="https://www.qualcomm.com/developer/software/jester-dataset",
    ),
    "activitynet": Known(
        title="ActivityNet v1.3",
        classes=200,
        videos={"train": 10_024, "val": 4_926},
        metric="map",
        flip="free",
        parser="activitynet",
        annotations="activity_net.v1-3.min.json",
        media="videos named v_ID",
        template="",
        address="http://activity-net.org/download.html",
    ),
    "fcvid": Known(
        title="FCVID",
        classes=239,
        videos={"train": 45_611, "val": 45_612},
        metric="map",
        flip="free",
        parser="fcvid",
        annotations="FCVID_VideoName_TrainTestSplit.txt and FCVID_Label.txt",
        media="videos in folders",
        template="",
        address="https://fvl.fudan.edu.cn/dataset/fcvid/list.htm",
    ),
    "mini-kinetics": Known(
        title="Mini-Kinetics",
        classes=200,
        videos={"train": 121_215, "val": 9_867},
        metric="top1",
        flip="free",
        parser="mini-kinetics",
        annotations="minik_classInd.txt (AdaFuse's data/kinetics), and train.csv and validate.csv of Kinetics-400",
        media="those of Kinetics-400's videos",
        template="",
        address="https://github.com/mengyuest/AdaFuse",
    ),
    "mini-kinetics-80k": Known(
        title="Mini-Kinetics 80K (Xie et al.)",
        classes=200,
        videos={"train": 80_000, "val": 5_000},
        metric="top1",
        flip="free",
        parser="kinetics-ids",
        annotations="train_ytid_list.txt and val_ytid_list.txt, and train.csv and validate.csv of Kinetics-400",
        media="those of Kinetics-400's videos",
        template="",
        address="https://github.com/s9xie/Mini-Kinetics-200",
    ),
    "kinetics-400": Known(
        title="Kinetics-400",
        classes=400,
        videos={"train": 246_534, "val": 19_906},
        metric="top1",
        flip="free",
        parser="kinetics",
        annotations="train.csv and validate.csv (or val.csv)",
        media="videos named ID_START_END",
        template="",
        address="https://github.com/cvdfoundation/kinetics-dataset",
    ),
}

# Words that change places in a mirror.
MIRRORED = (("left", "right"), ("counterclockwise", "clockwise"))


def swaps(classes: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs of classes that become each other in a mirror, by the words of their names."""
    number = {name: index for index, name in enumerate(classes)}
    pairs = ((index, number.get(mirrored(name), index)) for index, name in enumerate(classes))
    return tuple((one, other) for one, other in pairs if one < other and mirrored(classes[other]) == classes[one])


def mirrored(name: str) -> str:
    """A class's name in a mirror: word for word, whatever stands between them and whatever their capitals."""
    table = {one: other for pair in MIRRORED for one, other in (pair, pair[::-1])}

    def turned(match: re.Match[str]) -> str:
        word = match[0]
        other = table.get(word.lower())
        if other is None:
            return word
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return re.sub("[A-Za-z]+", turned, name)
