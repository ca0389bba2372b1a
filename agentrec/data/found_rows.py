"""Rows as they were found in a file of any format, before anybody asks what they mean."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentrec.data.json_lines import Record
from agentrec.data.row_faults import RowError

MOST_SHOWN = 500
"""Most characters that are shown of a row."""


@dataclass(frozen=True, slots=True)
class RowLimits:
    """How much one row of a file may hold; what is beyond is rejected.

    Attributes:
        line_bytes: Most bytes of a line, without its end, at least 1. No more of a longer line is
            ever in memory. Parquet has no lines.
        id_characters: Most characters of a session's or a user's id, at least 1. Item ids need no
            limit: they are those of the catalogue or unknown.
        items: Most items of a session, at least 1.
        candidates: Most candidates of a session, repetitions counted, at least 2.

    Raises:
        ValueError: If a number is out of range.
    """

    line_bytes: int = 1 << 20
    id_characters: int = 512
    items: int = 10_000
    candidates: int = 10_000

    def __post_init__(self) -> None:
        for name, least in (("line_bytes", 1), ("id_characters", 1), ("items", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}, not {getattr(self, name)}")
        if self.candidates < 2:
            raise ValueError(f"candidates is at least 2, not {self.candidates}")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One row of a file.

    Attributes:
        line: Its 1-based line; ``None`` in a file without lines.
        record: Its fields, as many as could be read.
        fault: Why it cannot be used; ``None`` if nothing is wrong with its form.
        raw: The row as it stood, or the beginning of it.
    """

    line: int | None
    record: Record
    fault: RowError | None
    raw: bytes | Record

    def shown(self) -> str:
        """The row for people: one line of printable characters, cut at ``MOST_SHOWN``."""
        if isinstance(self.raw, bytes):
            # A character has at most 4 bytes; one that is cut here is beyond what is shown.
            text = self.raw[: 4 * MOST_SHOWN + 4].decode("utf-8", "backslashreplace")
        else:
            text = json.dumps(self.raw, ensure_ascii=False)
        return visible(text, MOST_SHOWN)


def visible(text: str, most: int) -> str:
    """Escape what is not printable, so that nothing hides and nothing moves the cursor.

    Args:
        text: Anything.
        most: Most characters of the result, at least 1; a cut is marked with an ellipsis.
    """
    # A character never gets shorter, so that what is behind the first of them is not needed.
    shown = text[: most + 1]
    if not shown.isprintable():
        shown = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
            for char in shown
        )
    return shown if len(shown) <= most else shown[: most - 1] + "…"
