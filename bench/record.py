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
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from bench.errors import UserError
from bench.experiment import SCHEMA, Experiment, from_dict
from bench.shape import problems

log = logging.getLogger(__name__)


def training_folder(runs: Path, experiment: Experiment) -> Path:
    """Where the checkpoint of this experiment lives; shared by all its inference points."""
    return runs / experiment.data.dataset / experiment.model.method / experiment.training_id


def point_folder(runs: Path, experiment: Experiment) -> Path:
    """Where the result of this experiment lives."""
    return training_folder(runs, experiment) / "points" / experiment.experiment_id


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name only when it is complete and on disk.

    Raises:
        UserError: where the system does not let it be written, naming the file.
    """
    try:
        with _partial(path) as file:
            yield file
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be written ({error.strerror or error}). Expected a folder of yours with free space, and no "
        "folder of that name; mend that, and the same command goes on from here."
    )


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[IO[bytes]]:
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


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file."""
    try:
        with open(path, "a") as file:
            file.write(line + "\n")
    except OSError as error:
        raise _unwritten(path, error) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, none where there is no file; bytes that are no text become U+FFFD.

    Raises:
        UserError: when it cannot be read.
    """
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); expected a text file of yours. Mend its permissions or move "
            "away what is in its place."
        ) from error


def write_description(folder: Path, experiment: Experiment) -> None:
    """Say what a training is, once: its points, which say the rest themselves, share the file."""
    path = folder / "experiment.json"
    if not path.exists():
        write_json(path, experiment.training_dict())


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
        raise _unwritable(folder, error.strerror or str(error)) from error


def check_folder(folder: Path) -> None:
    """Say now what `make_folder` would say after an hour's work; leaves nothing on disk.

    Raises:
        UserError: naming the folder, where it or a folder above it is a file or cannot be written to.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise _unwritable(folder, f"{nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _unwritable(folder, f"{nearest} is not yours to write to")


def _unwritable(folder: Path, reason: str) -> UserError:
    return UserError(
        f"The folder {folder} cannot be written to ({reason}). Expected a folder of yours with free space; "
        "choose another with --runs or --out."
    )


def remove_partial_files(folder: Path) -> None:
    """Delete what killed writers left in a training's folder and its points'; only for the holder of its lock."""
    for pattern in (".*.partial", "points/*/.*.partial"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, waiting: str = "") -> Iterator[None]:
    """Hold a folder for one writer. The system releases the lock when its holder dies, however it dies.

    Args:
        waiting: logged once when another process holds it.

    Raises:
        UserError: when the lock's file cannot be opened, or its file system knows no locks.
    """
    with _opened_lock(folder, "w") as file:
        if not _take(file):
            log.warning("%s", waiting or f"{folder} is in use by another process; waiting.")
            fcntl.flock(file, fcntl.LOCK_EX)
        remove_partial_files(folder)
        yield


def is_locked(folder: Path) -> bool:
    """Whether a live process holds the folder.

    Raises:
        UserError: when that cannot be told.
    """
    if not (folder / ".lock").exists():
        return False
    with _opened_lock(folder, "r") as file:
        return not _take(file)


def _opened_lock(folder: Path, mode: str) -> IO[str]:
    path = folder / ".lock"
    try:
        return open(path, mode)
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); expected a file of yours, by which a run keeps others out of "
            "its folder. Mend its permissions, remove it while nothing runs, or choose another folder with --runs."
        ) from error


def _take(file: IO[str]) -> bool:
    """Lock the file unless another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{file.name} cannot be locked ({error.strerror}); expected a file system with locks. Choose a folder on "
            "another one with --runs."
        ) from error
    return True


@dataclass(frozen=True)
class Heartbeat:
    """A sign of life.

    Attributes:
        time: of the sign, in seconds since 1970.
        stage: what the run does: "train", "evaluate", "time"; "done" at its end.
        step: steps of the stage that are done.
        steps: of them in all.
    """

    pid: int
    time: float
    stage: str
    step: int
    steps: int


def write_heartbeat(folder: Path, stage: str, step: int, steps: int) -> None:
    """Say that a run is alive, and where it stands."""
    write_json(folder / "heartbeat.json", asdict(Heartbeat(os.getpid(), time.time(), stage, step, steps)))


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """The last sign of life, None where there is none that can be read: it decorates, and nothing depends on it."""
    try:
        values = json.loads((folder / "heartbeat.json").read_text())
        return Heartbeat(
            int(values["pid"]), float(values["time"]), str(values["stage"]), int(values["step"]), int(values["steps"])
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
        values = json.loads(path.read_text())
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
