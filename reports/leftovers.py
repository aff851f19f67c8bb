"""What an earlier report left in the folder that a new one is written to: pages of records that are gone since.

A report lists its files. What an earlier list names and the new report has not written is removed; other files in the
folder are a user's and stay.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.files import read_lines, write_text

LIST = "assets/files.txt"
# Nothing else is removed, whatever a list says: a report may come from somebody else.
OURS = re.compile(r"([\w-]+/)?[\w-][\w.-]*\.(html|png|svg|pdf|csv|md|tex|js|css|txt)")


class Leftovers:
    """The files of a folder, before a report is written to it.

    Args:
        folders: in it, that the report writes to.

    Raises:
        UserError: where the list of an earlier report cannot be read.
    """

    def __init__(self, out: Path, folders: Iterable[str]) -> None:
        self._out, self._folders = out, ["", *folders]
        # A file that is written anew has another number on disk, since it replaces the one before.
        self._before = dict(self._files())
        self._listed = {name for name in read_lines(out / LIST) if OURS.fullmatch(name)}

    def remove(self) -> None:
        """Once the report is written: list its files, and remove what only the list before has.

        Raises:
            UserError: where the list cannot be written.
        """
        written = {LIST, *(name for name, number in self._files() if self._before.get(name) != number)}
        for name in sorted(self._listed - written):
            path = self._out / name
            if path.is_file() and not path.parent.is_symlink():
                path.unlink()
        write_text(self._out / LIST, "".join(f"{name}\n" for name in sorted(written)), durable=False)

    def _files(self) -> Iterator[tuple[str, int]]:
        """Path in the folder, and number on disk, of each file in these folders."""
        for folder in self._folders:
            if (self._out / folder).is_dir():
                with os.scandir(self._out / folder) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            yield f"{folder}/{entry.name}".removeprefix("/"), entry.inode()
