"""Where prepared data sets are on this machine. Imports no torch.

$AFNET_BENCH_DATA, a folder with a data set in each folder of its name; then data.toml, a line a data set:

    something-something-v1 = "/scratch/sthv1"

in the configuration folder ($AFNET_BENCH_CONFIG, or afnet-bench below $XDG_CONFIG_HOME or ~/.config).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path

from bench.data.listing import DESCRIPTION
from bench.errors import UserError, unknown
from bench.files import make_folder, write_text

VARIABLE = "AFNET_BENCH_DATA"


def config_file() -> Path:
    """data.toml, which need not exist."""
    own = os.environ.get("AFNET_BENCH_CONFIG")
    above = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (Path(own) if own else above / "afnet-bench") / "data.toml"


def known_roots() -> dict[str, tuple[Path, str]]:
    """Folder of each data set, and what says so; $AFNET_BENCH_DATA before data.toml.

    Raises:
        UserError: for a data.toml that cannot be read.
    """
    roots = {name: (Path(folder).expanduser(), str(config_file())) for name, folder in _configured().items()}
    above = os.environ.get(VARIABLE)
    if above and Path(above).is_dir():
        found = (path.parent for path in sorted(Path(above).glob(f"*/{DESCRIPTION}")))
        roots |= {folder.name: (folder, f"${VARIABLE}") for folder in found}
    return roots


def find_root(name: str, known: Iterable[str] = ()) -> Path:
    """Folder of a data set.

    Args:
        known: names of data sets that exist, here or not.

    Raises:
        UserError: where nothing says where it is.
    """
    roots = known_roots()
    if name in roots:
        return roots[name][0]
    if name not in known:
        raise unknown("data set", name, {*known, *roots}, f"${VARIABLE} and {config_file()}")
    there = f"there are {', '.join(sorted(roots))}" if roots else "there is none"
    raise UserError(
        f"The data set {name!r} is not prepared on this machine: of ${VARIABLE} and {config_file()}, {there}. "
        f'`afbench data prepare {name} --help` says how it is; a line {name} = "/its/folder" in that file, where it is.'
    )


def remember_root(name: str, folder: Path) -> None:
    """Write a line into data.toml, unless a data set of this name is found in this folder already."""
    if name in (roots := known_roots()) and roots[name][0].resolve() == folder.resolve():
        return
    configured = {**_configured(), name: str(folder.resolve())}
    make_folder(config_file().parent)
    # A JSON string is a TOML string.
    lines = [f"{json.dumps(name)} = {json.dumps(path, ensure_ascii=False)}\n" for name, path in configured.items()]
    write_text(config_file(), "".join(lines))


def _configured() -> dict[str, str]:
    path = config_file()
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f'{path} cannot be read ({error}); expected lines such as my-videos = "/its/folder".'
        ) from error
    for name, folder in values.items():
        if not isinstance(folder, str):
            raise UserError(f"{path} has {name} = {folder!r}; expected a folder in quotes.")
    return values
