"""What an earlier report left in the folder that a new one is written to: pages of records that are gone since.

A report lists its files. What an earlier list names and the new report has not written is removed; other files in the
folder are a user's and stay.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from bench.files import make_folder, noting_writes, read_lines, write_text
from reports.questions import QUESTIONS

LIST = "assets/files.txt"
# No other name is removed, whatever a list says, since a report may come from somebody else: pages, what their script
# and style need, and in a data set's folder figures, tables and film strips.
PAGE = r"(index|methods|pairs|definitions|environment|(data|method|question)-[\w-]+|points/[0-9a-f]+)\.html"
ASSET = r"assets/(site\.(css|js)|points-[\w-]+\.js|plotly[\w.-]+)"
CURVES = "|".join(question.slug for question in QUESTIONS)
FIGURE = rf"(accuracy-vs-[a-z]+|saving|roofline|kept-per-block|cost-per-video|{CURVES}|looked-at-[0-9a-f]+)"
OURS = re.compile(
    rf"{PAGE}|{ASSET}|[\w-]+/({FIGURE}\.(png|svg|pdf)|(points|published)\.(html|md|tex|csv)|records\.csv)"
)


@contextlib.contextmanager
def replacing_report(out: Path, points: Collection[str]) -> Iterator[None]:
    """What is written within it to `out` replaces the report that is there.

    Files that are listed already stay listed until all is written, and pages of `points` are at once: of a report that
    is killed the next one removes what it does not write.

    Args:
        points: ids of its records.

    Raises:
        UserError: where the list cannot be read or written.
    """
    listed = {name for name in read_lines(out / LIST) if OURS.fullmatch(name)}
    make_folder(out / "assets")
    _write(out, listed | {f"points/{name}.html" for name in points})
    with noting_writes() as paths:
        yield
    written = {path.relative_to(out).as_posix() for path in paths}
    for name in sorted(listed - written):
        path = out / name
        if path.is_file() and not path.parent.is_symlink():
            path.unlink()
    _write(out, written)


def _write(out: Path, names: Collection[str]) -> None:
    write_text(out / LIST, "".join(f"{name}\n" for name in sorted({*names, LIST})), durable=False)
