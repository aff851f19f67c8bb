"""A copy of the source for jobs to run from, whatever becomes of the checkout while they wait. Imports no torch.

runs/.sweep/snapshots/<digest of the files>/    the packages, and SNAPSHOT.json, which says what they are a copy of
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.environment import ROOT, SNAPSHOT, SNAPSHOT_PATCH, SOURCE, source_patch, source_version
from bench.files import make_folder


def snapshot(folder: Path) -> Path:
    """Copy the source below a folder, once for each version of it.

    Raises:
        UserError: where the folder cannot be written to.
    """
    files = {path.relative_to(ROOT): path.read_bytes() for path in _files()}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    place = folder / digest.hexdigest()[:16]
    if place.is_dir():
        return place
    make_folder(folder)
    partial = Path(tempfile.mkdtemp(prefix=".partial.", dir=folder))
    try:
        for name, content in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
        version = source_version()
        if version["patch"]:
            (partial / SNAPSHOT_PATCH).write_text(source_patch())
        (partial / SNAPSHOT).write_text(json.dumps(version))
        partial.chmod(0o755)
        partial.rename(place)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return place


def lines_for(place: Path) -> str:
    """What a job's shell runs before, so that Python imports from there."""
    # Otherwise the folder that the job is started in, most often the checkout, comes first.
    return f'export PYTHONSAFEPATH=1\nexport PYTHONPATH={shlex.quote(str(place))}"${{PYTHONPATH:+:$PYTHONPATH}}"'


def _files() -> Iterator[Path]:
    for name in SOURCE:
        path = ROOT / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (each for each in found if each.is_file() and "__pycache__" not in each.parts)
