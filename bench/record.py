"""What a run leaves behind, and the only code that writes it. Imports no torch.

    runs/<dataset>/<method>/<training_id>/            experiment.json  checkpoint.pt  progress.jsonl  heartbeat.json
    runs/<dataset>/<method>/<training_id>/points/<experiment_id>/     result.json  samples.parquet  clips.jpg

Every file is written under a temporary name, flushed and renamed, so a reader sees the old one or the new one, whole.
A valid result.json is the only meaning of "done". Records merge by copying folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.errors import UserError
from bench.experiment import SCHEMA, Experiment, from_dict

RESULT_PARTS = ("experiment", "metrics", "macs", "timing", "stages", "environment")


def training_folder(runs: Path, experiment: Experiment) -> Path:
    """Where the checkpoint of this experiment lives; shared by all its inference points."""
    return runs / experiment.data.dataset / experiment.model.method / experiment.training_id


def point_folder(runs: Path, experiment: Experiment) -> Path:
    """Where the result of this experiment lives."""
    return training_folder(runs, experiment) / "points" / experiment.experiment_id


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name only when it is complete and on disk."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; records are shared like any other file of the user.
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def make_folder(folder: Path) -> None:
    """Create a folder and prove that it can be written to.

    Raises:
        UserError: naming the folder and what the system said.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be written to ({error.strerror}). Expected a folder of yours with free space; "
            "choose another with --runs or --out."
        ) from error


def remove_partial_files(folder: Path) -> None:
    """Delete what a killed writer left behind; call it only while holding the folder's lock."""
    for path in folder.glob(".*.partial"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, waiting: str = "") -> Iterator[None]:
    """Hold a folder for one writer. The system releases the lock when its holder dies, however it dies.

    Args:
        waiting: logged once when another process holds it.
    """
    import logging

    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.getLogger(__name__).warning("%s", waiting or f"{folder} is in use by another process; waiting.")
            fcntl.flock(file, fcntl.LOCK_EX)
        remove_partial_files(folder)
        yield


def write_heartbeat(folder: Path, **facts: Any) -> None:
    """Say that a run is alive, and where it stands."""
    write_json(folder / "heartbeat.json", {"pid": os.getpid(), "time": time.time(), **facts})


def read_heartbeat(folder: Path) -> dict[str, Any] | None:
    """The last sign of life, None where there is none yet."""
    try:
        heartbeat: dict[str, Any] = json.loads((folder / "heartbeat.json").read_text())
    except FileNotFoundError:
        return None
    return heartbeat


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
    def metrics(self) -> dict[str, Any]:
        metrics: dict[str, Any] = self.values["metrics"]
        return metrics


def read_result(path: Path) -> Result:
    """Read and validate a result.json.

    Raises:
        UserError: when it is truncated, lacks a part, or its ids do not match what it holds.
        FileNotFoundError: when there is none.
    """
    advice = "It was not written by this version or was damaged; move it away to have the point measured again."
    try:
        values = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a complete record: {error}. {advice}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}; expected a record. {advice}")
    if values.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {values.get('schema')!r}; this version reads schema {SCHEMA}. {advice}")
    missing = [part for part in RESULT_PARTS if not isinstance(values.get(part), dict)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; a record has {', '.join(RESULT_PARTS)}. {advice}")
    experiment = from_dict(values["experiment"], str(path))
    for name in ("training_id", "experiment_id"):
        if values.get(name) != getattr(experiment, name):
            raise UserError(
                f"{path} says {name} {values.get(name)!r}, but what it describes has "
                f"{getattr(experiment, name)}. {advice}"
            )
    return Result(path, experiment, values)


def find_result(runs: Path, experiment: Experiment) -> Result | None:
    """The result of this experiment, None where it is not done. A damaged one raises UserError."""
    try:
        return read_result(point_folder(runs, experiment) / "result.json")
    except FileNotFoundError:
        return None


def result_files(runs: Path) -> list[Path]:
    """Every result.json below a folder, in a fixed order.

    Raises:
        UserError: when there is no such folder.
    """
    if not runs.is_dir():
        raise UserError(
            f"There is no folder {runs}; expected a runs folder, as `afbench run` and `afbench demo` write."
        )
    return sorted(runs.glob("**/points/*/result.json"))
