"""Where prepared data sets are on this machine. Imports no torch.

$AFNET_BENCH_DATA, a folder with a data set in each folder of its name; then data.toml, a line a data set:

    something-something-v1 = "/scratch/sthv1"

in the configuration folder ($AFNET_BENCH_CONFIG, or afnet-bench below $XDG_CONFIG_HOME or ~/.config).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from bench.data.listing import BEGUN, DESCRIPTION
from bench.errors import UserError, unknown
from bench.files import locked, make_folder, write_text

VARIABLE = "AFNET_BENCH_DATA"


def config_file() -> Path:
    """data.toml, which need not exist."""
    own = os.environ.get("AFNET_BENCH_CONFIG")
    above = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (Path(own) if own else above / "afnet-bench") / "data.toml"


def data_folder() -> Path | None:
    """$AFNET_BENCH_DATA, where it is set."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None


def places() -> str:
    """Where data sets are looked for, in words."""
    return f"${VARIABLE} ({data_folder() or 'not set'}) and {config_file()}"


def known_roots() -> dict[str, tuple[Path, str]]:
    """Folder of each data set, and what says so; $AFNET_BENCH_DATA before data.toml.

    Raises:
        UserError: for a data.toml that cannot be read.
    """
    roots = {name: (Path(folder).expanduser(), str(config_file())) for name, folder in _configured().items()}
    above = data_folder()
    if above is not None:
        found = (path.parent for path in sorted(above.glob(f"*/{DESCRIPTION}")))
        roots |= {folder.name: (folder, f"${VARIABLE}") for folder in found}
    return roots


def find_root(name: str, known: Iterable[str] = ()) -> Path:
    """Folder of a data set.

    Args:
        known: names of data sets that exist, here or not.

    Raises:
        UserError: where nothing says where it is.
    """
    configured, above = _configured(), data_folder()
    # Not through all folders: a plan of thousands of points asks for each of them.
    if above is not None and name == Path(name).name != ".." and (above / name / DESCRIPTION).exists():
        return above / name
    if name in configured:
        return Path(configured[name]).expanduser()
    roots = known_roots()
    for folder in ((above / name) if above else None, Path("data") / name):
        if folder and (folder / BEGUN).exists() and not (folder / DESCRIPTION).exists():
            raise UserError(
                f"The preparation of {name!r} in {folder} is not finished; `afbench data prepare {name} ...` with the "
                "options that it was begun with goes on from where it is."
            )
    if name not in known:
        raise unknown("data set", name, {*known, *roots}, places())
    there = f"there are {', '.join(sorted(roots))}" if roots else "there is none"
    raise UserError(
        f"The data set {name!r} is not prepared on this machine: of {places()}, {there}. `afbench data list {name}` "
        f'says where to ask for it and how to prepare it; a line {name} = "/its/folder" in that file, where it is.'
    )


def check_root(name: str, folder: Path) -> None:
    """Whether a data set of this name would be found in this folder, once it is remembered.

    Raises:
        UserError: where another one comes before it, or data.toml cannot be read.
    """
    place, by = known_roots().get(name, (folder, ""))
    if by == f"${VARIABLE}" and place.resolve() != folder.resolve():
        raise UserError(
            f"{place} holds a data set {name}, which {by} puts before one in {folder}. Expected another name, that "
            "folder for --out, or none there."
        )


def remember_root(name: str, folder: Path) -> None:
    """Write a line into data.toml, unless a data set of this name is found in this folder already.

    Other lines stay as they are.

    Raises:
        UserError: where that file cannot be written.
    """
    if name in (roots := known_roots()) and roots[name][0].resolve() == folder.resolve():
        return
    # A JSON string is a TOML string, but for DEL.
    value = json.dumps(str(folder.resolve()), ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        make_folder(config_file().parent)
        with locked(config_file().parent):
            lines = config_file().read_text(encoding="utf-8").splitlines() if config_file().exists() else []
            kept = [line for line in lines if not _sets(line, name)]
            text = "\n".join([*kept, f"{json.dumps(name)} = {value}"]) + "\n"
            tomllib.loads(text)
            write_text(config_file(), text)
    except (UserError, UnicodeEncodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            f"{folder} is whole, but that it holds {name} cannot be noted in {config_file()}: {error} Set "
            f"$AFNET_BENCH_CONFIG to another folder and run the same command again, or ${VARIABLE} to the folder above "
            f"one of the name {name}."
        ) from error


def _sets(line: str, name: str) -> bool:
    """Whether a line of data.toml says where a data set is."""
    try:
        return name in tomllib.loads(line)
    except tomllib.TOMLDecodeError:  # a part of a value of several lines
        return False


def _configured() -> Mapping[str, str]:
    """Folders by data.toml, which is read again only where it is another file."""
    path = config_file()
    try:
        state = path.stat()
        return _read_configured(path, state.st_mtime_ns, state.st_size, state.st_ino)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f'{path} cannot be read ({error}); expected lines such as my-videos = "/its/folder".'
        ) from error


@lru_cache
def _read_configured(path: Path, *state: int) -> Mapping[str, str]:
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, folder in values.items():
        if not isinstance(folder, str) or not Path(folder).expanduser().is_absolute():
            raise UserError(f"{path} has {name} = {folder!r}; expected a whole path in quotes, beginning with /.")
    return values
