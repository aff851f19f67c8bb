"""Equal parts of many records, kept once: a thousand points of one sweep repeat most of what they say."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# Parts of a record of which no two are alike.
UNLIKE = ("metrics", "stages", "timing")


class Shared:
    """Keeps parts of records; equal to the letter, they are one object, which nobody may change."""

    def __init__(self) -> None:
        self._known: dict[bytes, Any] = {}

    def record(self, values: dict[str, Any]) -> dict[str, Any]:
        """A record of such parts; so are those of its experiment."""
        parts = {name: of if name in UNLIKE else self.part(of) for name, of in values.items() if name != "experiment"}
        return {**parts, "experiment": {name: self.part(of) for name, of in values["experiment"].items()}}

    def part(self, value: Any) -> Any:
        """The first one of these that was equal."""
        if not isinstance(value, (dict, list)):
            return value
        # Of the text, since 1 and 1.0 are equal and not the same to a reader.
        digest = hashlib.blake2b(json.dumps(value).encode(), digest_size=16).digest()
        return self._known.setdefault(digest, value)
