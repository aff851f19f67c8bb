"""Data sets by name: what can be set in them, what they are, and how to open them. Imports no torch.

One is generated (digits in motion); all others lie on disk as `afbench data prepare` leaves them: those of KNOWN, and
a user's own under any other name.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.data.digits import CLASSES, Digits
from bench.data.known import KNOWN
from bench.data.listing import Prepared, read_prepared
from bench.data.roots import config_file, find_root
from bench.data.sampling import MODES
from bench.data.source import Source
from bench.data.stored import TRAIN_LABELS, Stored
from bench.data.views import Resizing
from bench.errors import UserError, unknown
from bench.fields import Checked, choice, number, switch

if TYPE_CHECKING:
    from bench.experiment import Data

POLICIES = ("stop", "skip")
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class DigitsSettings(Checked):
    """Settings of digits in motion; see bench.data.digits."""

    path = "data.settings"

    length: int = number(48, "frames of a clip", at_least=4)
    informative: float = number(1 / 3, "share of the frames that show the digit", above=0, at_most=1)
    scale: float = number(0.34, "side of the digit as a share of the picture's", above=0, at_most=0.5)
    distractors: int = number(2, "largest number of scrambled digits", at_least=0, at_most=8)
    noise: int = number(16, "grey levels, largest amplitude of the noise", at_least=0, at_most=128)


@dataclass(frozen=True)
class StoredSettings(Checked):
    """How videos on disk become clips; see bench.data.stored."""

    path = "data.settings"

    sampling: str = choice("segments", "which frames", *MODES)
    short_side: int = number(
        0, "pixels of the shorter side of the picture that crops are taken of; 0 is 8/7 of data.size", at_least=0
    )
    height: int = number(0, "pixels of that picture, whatever the frame's shape; 0 keeps the shape", at_least=0)
    width: int = number(0, "pixels, with height", at_least=0)
    multi_scale: bool = switch(True, "training crops of several scales; else the centre")
    flip: bool = switch(True, "training clips are mirrored where their labels allow it")
    train_label: str = choice(
        "first", "that a video of several labels is trained as: the first, or one drawn in each epoch", *TRAIN_LABELS
    )
    decoder: str = choice("pyav", "of video files", "pyav", "torchcodec")
    on_bad: str = choice("stop", "a video that cannot be used ends the run, or is left out and counted", *POLICIES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.height) != bool(self.width):
            raise UserError(
                f"data.settings.height is {self.height} and width {self.width}; expected both, or both 0 to keep the "
                "frames' shape."
            )


class Dataset:
    """One data set.

    Attributes:
        title: as reports write it.
        settings: the dataclass of what can be set.
        answers: whether it knows which frames and regions carry the label.
        generated: whether it is made as it is needed, at next to no cost.
        multiple_views: whether a video can be looked at in several clips and crops.
        order_blind_ceiling: the best top-1 a model that ignores the order of frames can reach, in [0, 1]; None where
            nobody knows.
    """

    title: str
    settings: type[Checked]
    answers: bool = False
    generated: bool = False
    multiple_views: bool = True
    order_blind_ceiling: float | None = None

    def resolved(self, data: Data) -> dict[str, Any]:
        """The fields of an experiment's data that are the data set's own to say, where they are left open.

        Raises:
            UserError: where it is not on this machine and must be, or has fewer videos or other classes.
        """
        raise NotImplementedError

    def check_frames(self, data: Data, frames: int) -> None:
        """UserError where no clip of so many frames can be sampled."""

    def open(self, data: Data) -> Source:
        """The clips."""
        raise NotImplementedError


class Generated(Dataset):
    """Digits in motion."""

    title = "Digits in motion"
    settings = DigitsSettings
    answers = True
    generated = True
    multiple_views = False
    order_blind_ceiling = 0.5

    def resolved(self, data: Data) -> dict[str, Any]:
        if data.classes not in (0, len(CLASSES)):
            raise UserError(f"data.classes is {data.classes}; {data.dataset} has {len(CLASSES)}.")
        if data.fingerprint:
            raise UserError(f"data.fingerprint is {data.fingerprint!r}; {data.dataset} is not on disk, expected none.")
        return {"train_clips": data.train_clips or 6400, "val_clips": data.val_clips or 480, "classes": len(CLASSES)}

    def check_frames(self, data: Data, frames: int) -> None:
        """As many frames as there are would be too few: TSN's validation sampling then repeats the first one."""
        length = data.settings.length  # type: ignore[attr-defined]
        if frames >= length:
            raise UserError(
                f"model.frames or evaluation.frames is {frames}; a clip of {data.dataset} has {length} frames, of "
                f"which at most {length - 1} can be sampled."
            )

    def open(self, data: Data) -> Digits:
        return Digits(seed=data.seed, size=data.size, **asdict(data.settings))


class OnDisk(Dataset):
    """A prepared data set."""

    settings = StoredSettings

    def __init__(self, name: str) -> None:
        self.name = name
        self.title = KNOWN[name].title if name in KNOWN else name

    def resolved(self, data: Data) -> dict[str, Any]:
        if data.fingerprint:  # an experiment that was resolved before, perhaps on another machine
            return {}
        prepared = self._found()
        _check_decoder(prepared, data)
        wanted = {"train": data.train_clips, "val": data.val_clips}
        for split, count in wanted.items():
            if count > prepared.counts[split]:
                raise UserError(
                    f"data.{split}_clips is {count}, but {self.name} in {prepared.root} has {prepared.counts[split]}; "
                    "expected no more, or 0 for all."
                )
        if data.classes not in (0, len(prepared.classes)):
            raise UserError(f"data.classes is {data.classes}; {self.name} has {len(prepared.classes)}.")
        counts = {f"{split}_clips": count or prepared.counts[split] for split, count in wanted.items()}
        return {**counts, "classes": len(prepared.classes), "fingerprint": prepared.fingerprint}

    def open(self, data: Data) -> Stored:
        prepared = self._prepared(data)
        settings = data.settings
        assert isinstance(settings, StoredSettings)
        return Stored(
            prepared,
            size=data.size,
            counts={"train": data.train_clips, "val": data.val_clips},
            seed=data.seed,
            mode=settings.sampling,
            resizing=Resizing(settings.short_side or round(data.size * 8 / 7), settings.height, settings.width),
            multi_scale=settings.multi_scale,
            flip=settings.flip,
            train_label=settings.train_label,
            decoder=settings.decoder,
        )

    def _found(self) -> Prepared:
        """What is prepared under this name."""
        root = find_root(self.name, (DIGITS, *KNOWN))
        prepared = read_prepared(root)
        if prepared.name != self.name:
            raise UserError(
                f"{root} holds the data set {prepared.name!r}, but is given as that of {self.name!r}; expected its own "
                f"folder in {config_file()}."
            )
        return prepared

    def _prepared(self, data: Data) -> Prepared:
        prepared = self._found()
        if prepared.fingerprint != data.fingerprint:
            raise UserError(
                f"{prepared.root} holds {self.name} with fingerprint {prepared.fingerprint}, but the experiment was "
                f"made for {data.fingerprint}: other lists, classes or pictures. Expected the same preparation; "
                "without data.fingerprint an experiment takes what is there, as another experiment."
            )
        _check_decoder(prepared, data)
        return prepared


def _check_decoder(prepared: Prepared, data: Data) -> None:
    """UserError for a decoder of video files where there are none."""
    assert isinstance(data.settings, StoredSettings)
    if prepared.layout.kind == "frames" and data.settings.decoder != "pyav":
        raise UserError(
            f"data.settings.decoder is {data.settings.decoder!r}, of video files; {prepared.name} in {prepared.root} "
            "is folders of frames. Expected the setting left out."
        )


DIGITS = "digits-in-motion"


def find_dataset(name: str) -> Dataset:
    """The data set of a name; whether it is on this machine shows when it is resolved or opened.

    Raises:
        UserError: for what is no name.
    """
    # Names come from JSON too, where anything may stand, and become folders.
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise unknown("data set", name, (DIGITS, *KNOWN), "expected small letters, digits and hyphens")
    return _dataset(name)


@cache
def _dataset(name: str) -> Dataset:
    return Generated() if name == DIGITS else OnDisk(name)
