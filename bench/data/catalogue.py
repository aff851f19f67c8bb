"""Data sets by name: what can be set in them, their classes, and how to open them. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.data.digits import CLASSES, Digits
from bench.errors import UserError, unknown
from bench.fields import Checked, number

if TYPE_CHECKING:
    from bench.experiment import Data


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
class Dataset:
    """One known data set.

    Attributes:
        title: as reports write it.
        classes: names, in the order of the labels.
        settings: the dataclass of what can be set.
        order_blind_ceiling: the best top-1 a model that ignores the order of frames can reach, in [0, 1].
    """

    title: str
    classes: tuple[str, ...]
    settings: type[Checked]
    order_blind_ceiling: float

    def check_frames(self, data: Data, frames: int) -> None:
        """UserError when a clip does not have more frames than a model wants.

        As many are too few: TSN's validation sampling then repeats the first frame.
        """
        length = data.settings.length  # type: ignore[attr-defined]
        if frames >= length:
            raise UserError(
                f"model.frames or evaluation.frames is {frames}; a clip of {data.dataset} has {length} frames, of "
                f"which at most {length - 1} can be sampled."
            )

    def open(self, data: Data) -> Digits:
        """The clips."""
        return Digits(seed=data.seed, size=data.size, **asdict(data.settings))


DATASETS: dict[str, Dataset] = {
    "digits-in-motion": Dataset("Digits in motion", CLASSES, DigitsSettings, order_blind_ceiling=0.5),
}


def find_dataset(name: str) -> Dataset:
    """The entry of a name, or a UserError with the valid ones."""
    # Names come from JSON too, where anything may stand; a list cannot be looked up.
    if not isinstance(name, str) or name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]
