"""How numbers of things are said, wherever people read of them."""

from __future__ import annotations


def counted(count: int, name: str) -> str:
    """ "1 point", "2 points"."""
    return f"{count} {name}{'s' * (count != 1)}"
