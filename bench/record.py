"""What a run leaves behind, and the only code that writes it. Imports no torch.

    runs/<dataset>/names-<digest>.json                what its classes and validation videos are called
    runs/<dataset>/<method>/<training_id>/            experiment.json  checkpoint.pt  progress.jsonl  heartbeat.json
                                                      attempts.jsonl
    runs/<dataset>/<method>/<training_id>/points/<experiment_id>/     result.json  samples.parquet  clips.jpg

A valid result.json is the only meaning of "done". Records merge by copying folders.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.experiment import SCHEMA, Experiment, from_dict
from bench.files import check_file, read_text, write_json
from bench.shape import problems


def training_folder(runs: Path, experiment: Experiment) -> Path:
    """Where the checkpoint of this experiment lives; shared by all its inference points."""
    return runs.joinpath(experiment.data.dataset, experiment.model.method, experiment.training_id)


def point_folder(runs: Path, experiment: Experiment) -> Path:
    """Where the result of this experiment lives."""
    return training_folder(runs, experiment).joinpath("points", experiment.experiment_id)


def write_description(folder: Path, experiment: Experiment) -> None:
    """Say what a training is, once: its points, which say the rest themselves, share the file."""
    path = folder / "experiment.json"
    if not path.exists():
        write_json(path, experiment.training_dict())


def write_names(runs: Path, experiment: Experiment, classes: Sequence[str], videos: Sequence[str]) -> str:
    """Keep, once for all points on the same videos, what classes and videos are called, by number.

    Returns:
        The file's name in the data set's folder, for the records.
    """
    values = {"classes": list(classes), "videos": list(videos)}
    digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]
    path = runs / experiment.data.dataset / f"names-{digest}.json"
    if not path.exists():
        write_json(path, values)
    return path.name


EVALUATED = "evaluated.json"


def write_evaluated(point: Path, experiment: Experiment, values: dict[str, Any]) -> None:
    """Keep all of a record but its times until those are measured."""
    write_json(point / EVALUATED, {"schema": SCHEMA, "experiment_id": experiment.experiment_id, **values})


def read_evaluated(point: Path, experiment: Experiment) -> dict[str, Any] | None:
    """What `write_evaluated` kept; None where it is not there whole, with the samples that it is about."""
    try:
        values = json.loads(read_text(point / EVALUATED))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(values, dict) and values.get("schema") == SCHEMA
    if not known or values.get("experiment_id") != experiment.experiment_id:
        return None
    return values if (point / "samples.parquet").is_file() else None


@dataclass(frozen=True)
class Heartbeat:
    """A sign of life.

    Attributes:
        time: of the sign, in seconds since 1970.
        host: it came from.
        stage: what the run does: "start", "train", "validate", "evaluate", "time"; "done" at its end.
        step: steps of the stage that are done.
        steps: of them in all.
        pace: seconds a step of this stage took so far; 0 where none is done.
    """

    pid: int
    time: float
    stage: str
    step: int
    steps: int
    host: str = ""
    pace: float = 0.0


def write_heartbeat(folder: Path, stage: str, step: int, steps: int, pace: float = 0.0) -> None:
    """Say that a run is alive, and where it stands."""
    beat = Heartbeat(os.getpid(), time.time(), stage, step, steps, socket.gethostname(), round(pace, 4))
    write_json(folder / "heartbeat.json", asdict(beat))


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """The last sign of life, None where there is none that can be read: it decorates, and nothing depends on it."""
    try:
        values = json.loads(read_text(folder / "heartbeat.json"))
        return Heartbeat(
            int(values["pid"]),
            float(values["time"]),
            str(values["stage"]),
            int(values["step"]),
            int(values["steps"]),
            str(values.get("host", "")),
            float(values.get("pace", 0.0)),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


@dataclass(frozen=True)
class Result:
    """One finished point.

    Attributes:
        path: of its result.json.
        experiment: in full.
        values: the parsed file.
    """

    path: Path
    experiment: Experiment
    values: dict[str, Any]

    @property
    def names(self) -> dict[str, list[str]]:
        """Of the data set's "classes" and its validation "videos", by number; both empty where nobody kept them."""
        # runs/<dataset>/<method>/<training_id>/points/<experiment_id>/result.json
        path = self.path.absolute().parents[4] / Path(str(self.values.get("names", ""))).name
        try:
            values = json.loads(read_text(path))
            return {part: [str(name) for name in values[part]] for part in ("classes", "videos")}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {"classes": [], "videos": []}

    @property
    def metrics(self) -> dict[str, Any]:
        metrics: dict[str, Any] = self.values["metrics"]
        return metrics


def read_result(path: Path) -> Result:
    """Read and validate a result.json.

    Raises:
        UserError: when it cannot be read, is truncated, lacks something, or its ids do not match what it holds.
        FileNotFoundError: when there is none.
    """
    advice = "It was not written by this version or was damaged; move it away to have the point measured again."
    try:
        values = _parsed(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); expected a file of yours, in folders. Mend its permissions, "
            "move away what is in its place, or choose another folder with --runs."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a complete record: {error}. {advice}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}; expected a record. {advice}")
    if values.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {values.get('schema')!r}; this version reads schema {SCHEMA}. {advice}")
    wrong = problems(values)
    if wrong:
        raise UserError(f"{path} is not a complete record: {'; '.join(wrong)}. {advice}")
    try:
        experiment = from_dict(values["experiment"], "its experiment")
    except UserError as error:
        raise UserError(f"{path} does not describe an experiment of this version: {error} {advice}") from error
    for name in ("training_id", "experiment_id"):
        if values.get(name) != getattr(experiment, name):
            raise UserError(
                f"{path} says {name} {values.get(name)!r}, but what it describes has "
                f"{getattr(experiment, name)}. {advice}"
            )
    return Result(path, experiment, values)


LARGEST_RESULT = 64 * 2**20  # bytes


def _parsed(path: Path) -> Any:
    """Of a file that may be a stranger's.

    Raises:
        ValueError: where it is no JSON, or cannot be.
        OSError: where it cannot be read.
    """
    size = check_file(path).st_size
    if size > LARGEST_RESULT:
        raise ValueError(f"it has {size} bytes, {LARGEST_RESULT} at most were expected")
    text = path.read_text()
    values = json.loads(text)
    if "\\ud" in text.lower():
        # Halves of a character, which JSON can spell, no page can be written with.
        json.dumps(values, ensure_ascii=False).encode()
    return values


def find_result(runs: Path, experiment: Experiment) -> Result | None:
    """The result of this experiment, None where it is not done. A damaged one raises UserError."""
    try:
        return read_result(point_folder(runs, experiment) / "result.json")
    except FileNotFoundError:
        return None


def result_files(runs: Path) -> list[Path]:
    """Every result.json below a folder, in a fixed order; a result.json itself is the only one.

    Raises:
        UserError: when there is no such folder.
    """
    if runs.name == "result.json" and runs.is_file():
        return [runs]
    if not runs.is_dir():
        raise UserError(
            f"There is no folder {runs}; expected a runs folder, as `afbench run` and `afbench demo` write."
        )
    return sorted(runs.glob("**/points/*/result.json"))
