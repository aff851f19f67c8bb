"""What a user did that cannot work, said so that it can be mended; the command line turns it into exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the caller: what was found, where, what was expected, the valid choices; one paragraph."""


def unknown(kind: str, name: object, choices: Iterable[str], where: str = "") -> UserError:
    """The error for a name that does not exist, with the nearest one that does."""
    known = sorted(choices)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    place = f" in {where}" if where else ""
    return UserError(f"Unknown {kind} {name!r}{place}.{hint} Valid choices: {', '.join(known) or 'none'}.")


class BadClip(UserError):
    """A video of a data set that cannot be used, and why; what to do about it is the policy's to say.

    Attributes:
        file: that is at fault.
        reason: what is wrong with it, as the rest of a sentence.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} {reason}.")
        self.file = file
        self.reason = reason

    def __reduce__(self) -> tuple[type[BadClip], tuple[str, str]]:
        """As processes hand it to one another."""
        return BadClip, (self.file, self.reason)
