"""Which records a side of a comparison means, by the name that was given for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench.data.catalogue import find_dataset
from bench.errors import UserError, unknown
from bench.experiment import Experiment
from bench.methods import METHODS
from bench.record import Result
from reports.labels import without_trained_frames
from reports.load import Records

LISTED = 6  # variants that an error names
MOST_LABELS = 30  # that it names beside the registry's, since they may be long


@dataclass(frozen=True)
class Entry:
    """One record, and what it is called here.

    Attributes:
        row: of the table of all records.
        method: the report's label but for trained frames.
        variant: the label.
        unseeded: the experiment with seed 0, whatever it has.
    """

    row: dict[str, Any]
    result: Result
    method: str
    variant: str
    unseeded: Experiment

    @property
    def id(self) -> str:
        return self.result.experiment.experiment_id

    @property
    def name(self) -> str:
        return f"{self.method} {self.row['point']}"

    @cached_property
    def videos(self) -> tuple[Any, ...]:
        """What fixes which videos its numbers mean."""
        data, names = self.result.experiment.data, str(self.result.values.get("names", ""))
        if find_dataset(data.dataset).generated:  # names are numbers there, whatever is made
            return (names, data.seed, data.size, data.settings.canonical)
        return (names,) if names else ("", data.val_clips, data.seed, data.fingerprint)


def entries_of_dataset(records: Records, dataset: str) -> list[Entry]:
    """The records of the data set asked for, or of the only one, in the order of their ids."""
    names = sorted(records.table["dataset"].unique())
    if dataset and dataset not in names:
        raise unknown("data set", dataset, names, "these records")
    if not dataset and len(names) > 1:
        raise UserError(f"These records are of {len(names)} data sets: {', '.join(names)}. Say which with --dataset.")
    return sorted(entries_of(records, dataset or names[0]), key=lambda entry: entry.id)


def entries_of(records: Records, dataset: str) -> list[Entry]:
    pairs = zip(records.table.to_dict("records"), records.results, strict=True)
    return [_trial(row, result) for row, result in pairs if row["dataset"] == dataset]


def _trial(row: dict[str, Any], result: Result) -> Entry:
    variant, experiment = row["method"], result.experiment  # labels are blind to seeds
    unseeded = replace(experiment, training=replace(experiment.training, seed=0))
    return Entry(row, result, without_trained_frames(variant, experiment.model.frames), variant, unseeded)


def named(name: str, entries: list[Entry], option: str, notes: list[str]) -> list[Entry]:
    """The entries of a side.

    Raises:
        UserError: where that names nothing, several variants of a method, or several experiments.
    """
    for label in (lambda t: t.method, lambda t: t.variant, lambda t: t.row["method"]):
        found = [entry for entry in entries if label(entry) == name]
        if found:
            return found
    found = [entry for entry in entries if entry.row["name"] == name]
    if found:
        return _plain_variant(name, found, option, notes)
    found = [entry for entry in entries if name and entry.id.startswith(name)]
    if len(found) > 1:
        raise UserError(
            f"{option} is {name!r}, with which {len(found)} experiment ids begin; expected more of its digits."
        )
    if not found:
        labels, names = {entry.method for entry in entries}, {entry.row["name"] for entry in entries}
        choices = names | labels if len(labels) <= MOST_LABELS else names
        raise unknown("method or experiment id", name, choices, f"{option} of these records")
    return found


def _plain_variant(name: str, found: list[Entry], option: str, notes: list[str]) -> list[Entry]:
    """Of a method's variants the one that bears its title alone, or the only one: mixed, they would be no method."""
    variants = sorted({entry.method for entry in found})
    if len(variants) == 1:
        return found
    title = METHODS[name].title
    if title not in variants:
        more = f"; and {len(variants) - LISTED} more, as the table of the report has them" * (len(variants) > LISTED)
        raise UserError(
            f"{option} is {name!r}, of which there are {len(variants)} variants; expected one, or the beginning "
            f"of an experiment id: {'; '.join(variants[:LISTED])}{more}."
        )
    others = "; ".join(variant for variant in variants if variant != title)
    notes.append(f"{name} is taken as {title}; not in it: {others}.")
    return [entry for entry in found if entry.method == title]


def without_noise(side: list[Entry], name: str, notes: list[str]) -> list[Entry]:
    """Those that were timed without noise."""
    noisy = [entry for entry in side if entry.row["noisy"]]
    if noisy:
        said = ", ".join(f"{entry.name} seed {entry.row['seed']} ({entry.id})" for entry in noisy)
        notes.append(f"Timed with noise, and so not matched by throughput: {said}.")
    if len(noisy) == len(side):
        which = f"The only record of {name} was" if len(side) == 1 else f"All {len(side)} records of {name} were"
        raise UserError(f"{which} timed with noise; expected one that was not: time again.")
    return [entry for entry in side if not entry.row["noisy"]]


def check_device(entries: list[Entry]) -> None:
    devices = sorted({f"{entry.row['device']} ({entry.row['dtype']})" for entry in entries})
    if len({entry.row["device"] for entry in entries}) > 1:
        raise UserError(f"These points were timed on {', '.join(devices)}; expected one device to match by throughput.")


def differing(sides: Sequence[list[Entry]]) -> list[str]:
    """What differs between the sides and is allowed to."""
    notes = []
    kinds = [[_conditions(entry) for entry in side] for side in sides]
    for text in kinds[0][0]:
        a, b = (sorted({conditions[text] for conditions in side}, key=str) for side in kinds)
        if a != b:
            notes.append(f"The sides differ in {text}: A {', '.join(map(str, a))}, B {', '.join(map(str, b))}.")
    if len({entry.result.experiment.data.fingerprint for side in sides for entry in side}) > 1:
        notes.append(
            "Videos and names are the same, but not all of the data's fingerprint: other training or pictures."
        )
    return notes


def _conditions(entry: Entry) -> dict[str, Any]:
    """How often a video was looked at, and what else throughput depends on, in words."""
    timing = entry.result.values["timing"]
    return {
        "views of a video": entry.row["views"],
        "data type when timed": entry.row["dtype"],
        "device when timed": entry.row["device"],
        "threads when timed": timing["device"].get("threads"),
        "clips a forward when timed": timing["scenarios"]["offline"]["dense"]["batch"],
        "mode when timed": timing.get("mode"),
    }


def trials_among(entries: Sequence[Entry]) -> str:
    """Of records compared, how many mean nothing; "" where none is a tiny trial."""
    count, of = sum(bool(entry.row["trial"]) for entry in entries), len(entries)
    if not count:
        return ""
    which = f"All {of}" if count == of else f"{count} of {of}"
    return f"Nothing can be concluded: {which} records here are tiny trials (--tiny), whose accuracy means nothing."
