"""Answers that a language model should not give, but does: garbage, and items nobody offered."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

_LINES = 10

GARBAGE = (
    "I'm sorry, but I cannot help with that.",
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>",
    "1. \x00\x1b[31m\x07C01\u202e\u2066\n\x9b2J\ufeff2. \u200b\x00",
    # Half a surrogate pair, as of an answer cut off inside a character.
    "1. \ud83d",
    "1. " + "C0" * 8_000,
    "(" * 8_000,
    "\n" * 8_000 + "1.",
    "1. " + "a\u0301 " * 5_000,
    '{"ranking": ["C',
    "[" * 200_000,
    "null",
    "As an AI language model I have no taste in this matter. 1. 2. 3.",
)
"""Texts that name nothing a reader may take for a candidate."""


def garbage(lot: random.Random) -> str:
    """One of ``GARBAGE``."""
    return lot.choice(GARBAGE)


def foreign_items(lot: random.Random, schema: Mapping[str, Any] | None = None) -> str:
    """A list in the right form of which nearly nothing may be used.

    It has titles nobody offered, handles far beyond any list, a handle of zero and one candidate,
    the first, named again and again.

    Args:
        lot: Where the choice comes from.
        schema: The schema of the answer that was asked for; the list then becomes the value of
            each of its arrays.
    """
    kinds = (
        lambda: f"The Film That Never Was {lot.randrange(1_000)}",
        lambda: f"C{lot.randrange(5_000, 10_000)} | Nowhere",
        lambda: "C00 | Nothing",
        lambda: "C01 | again",
    )
    rows = [lot.choice(kinds)() for _ in range(_LINES - 2)] + ["C01 | again", "C01 | again"]
    lot.shuffle(rows)
    if schema is None:
        return "\n".join(f"{number}. {row}" for number, row in enumerate(rows, start=1))
    fields = schema.get("properties", {"ranking": {"type": "array"}})
    return json.dumps({name: rows for name, kind in fields.items() if kind.get("type") == "array"})
