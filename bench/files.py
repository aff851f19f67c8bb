"""Files and folders written whole or not at all, and locks. Imports no torch.

Every file is written under a temporary name, flushed and renamed, so a reader sees the old one or the new one, whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from bench.errors import UserError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name only when it is complete and, where it is `durable`, on disk.

    Args:
        durable: False for what can be made again at any time, as pages of a report: where thousands are written,
            waiting for the disk takes longer than all else. Power that fails may leave such a file empty.

    Raises:
        UserError: where the system does not let it be written, naming the file.
    """
    try:
        with _partial(path, durable) as file:
            yield file
    except OSError as error:
        raise _unwritten(path, error) from error
    written = _noted.get()
    if written is not None:
        written.add(path)


_noted: ContextVar[set[Path] | None] = ContextVar("files written", default=None)


@contextlib.contextmanager
def noting_writes() -> Iterator[set[Path]]:
    """The paths of the files that `replacing` replaces within it, in this thread."""
    written = set[Path]()
    token = _noted.set(written)
    try:
        yield written
    finally:
        _noted.reset(token)


def _unwritten(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be written ({error.strerror or error}). Expected a folder of yours with free space, and no "
        "folder of that name; mend that, and the same command goes on from here."
    )


@contextlib.contextmanager
def _partial(path: Path, durable: bool) -> Iterator[IO[bytes]]:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
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


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a text file in one step, as `replacing` does."""
    with replacing(path, durable=durable) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, below one that a full disk or a kill cut short."""
    try:
        with open(path, "ab+") as file:
            file.seek(-1 if file.tell() else 0, os.SEEK_END)
            begin = "" if file.read() in (b"", b"\n") else "\n"
            file.write(f"{begin}{line}\n".encode())
    except OSError as error:
        raise _unwritten(path, error) from error


def check_file(path: Path) -> os.stat_result:
    """The facts of a file; a pipe in its place would be waited for for ever.

    Raises:
        OSError: where there is none, or something else.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        kind = errno.EISDIR if stat.S_ISDIR(facts.st_mode) else errno.EINVAL
        raise OSError(kind, "Is a directory" if kind == errno.EISDIR else "it is not a file", str(path))
    return facts


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file that may be a stranger's.

    Raises:
        OSError: as check_file, or where it cannot be read.
        UnicodeDecodeError: where it is no text, unless `errors` says otherwise.
    """
    check_file(path)
    return path.read_text(errors=errors)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, none where there is no file; bytes that are no text become U+FFFD.

    Raises:
        UserError: when it cannot be read.
    """
    try:
        return read_text(path, errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); expected a text file of yours. Mend its permissions or move "
            "away what is in its place."
        ) from error


# Written into a folder to see whether there is room: more than file systems keep for a file's name alone.
PROBE = bytes(64 * 1024)


def make_folder(folder: Path) -> None:
    """Create a folder and prove that it can be written to, and has room.

    Raises:
        UserError: naming the folder and what the system said.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(PROBE)
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error


def clock_of(folder: Path) -> float:
    """Seconds since 1970 by the clock of a folder's file system, which is a server's where machines share it.

    Raises:
        UserError: where the folder cannot be written to.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as file:
            file.write(b".")
            file.flush()
            return Path(file.name).stat().st_mtime
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
def locked(folder: Path, waiting: str = "", otherwise: str = "") -> Iterator[None]:
    """Hold a folder for one writer. The system releases the lock when its holder dies, however it dies.

    Args:
        waiting: logged once when another process holds it.
        otherwise: said instead of waiting.

    Raises:
        UserError: when another process holds it and is not waited for; when the lock's file cannot be opened, or its
            file system knows no locks.
    """
    with _opened_lock(folder, "w") as file:
        if not _take(file):
            if otherwise:
                raise UserError(otherwise)
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
