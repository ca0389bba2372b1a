"""A file of very many sessions of which many cannot be used, each for a reason that is known."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentrec.sessions import Session

_SPOILT = 0.4
"""Share of the rows that cannot be used."""

_LONG = 2 << 20
"""Characters of a line that is too long."""

Row = dict[str, object]


def _with(**changes: object) -> Callable[[Row], bytes]:
    """A row with some fields changed, or left out where they are ``...``."""

    def spoil(row: Row) -> bytes:
        left = {name: value for name, value in {**row, **changes}.items() if value is not ...}
        return json.dumps(left).encode()

    return spoil


def _as(text: str | bytes) -> Callable[[Row], bytes]:
    """Something else instead of a row."""
    return lambda row: text if isinstance(text, bytes) else text.encode()


# Every way, with the reason that must be reported. Those of many megabytes are rare.
_WAYS: Sequence[tuple[str, Callable[[Row], bytes]]] = [
    ("not_json", lambda row: json.dumps(row).encode()[:-7]),
    ("not_json", _as("{")),
    ("not_json", _as('{"session_id": "nan", "items": [NaN], "candidates": []}')),
    ("not_json", _as("[" * 20_000)),
    ("not_json", _as('{"session_id":' * 2000 + "0" + "}" * 2000)),
    ("not_json", _as("\0" * 50)),
    ("not_json", _as("session_id,items,candidates")),
    ("not_an_object", _as('["a", "row", {"of": "another"}]')),
    ("not_an_object", _as("17")),
    ("not_an_object", _as("null")),
    ("wrong_encoding", lambda row: json.dumps(row).encode()[:-1] + b', "note": "caf\xe9"}'),
    ("wrong_encoding", lambda row: json.dumps(row).encode("utf-16")),
    ("missing_field", _with(session_id=...)),
    ("missing_field", _with(items=...)),
    ("missing_field", _with(candidates=None)),
    ("wrong_type", _with(session_id=["a"])),
    ("wrong_type", _with(session_id=1.5)),
    ("wrong_type", _with(items="i1")),
    ("wrong_type", _with(items=[[["i1"]]])),
    ("wrong_type", _with(items={"i1": {"i2": [{}]}})),
    ("wrong_type", _with(candidates=["i1", None])),
    ("wrong_type", _with(candidates=["i1", True])),
    ("wrong_type", _with(user_id={})),
    ("empty", _with(session_id="")),
    ("empty", _with(items=[])),
    ("empty", _with(items=["i1", ""])),
    ("bad_text", _with(session_id="half \ud83d")),
    ("bad_text", _with(session_id="nul \0")),
    ("too_long", _with(session_id="s" * 600)),
    ("too_many", _with(items=["i1"] * 10_001)),
    ("unknown_item", _with(items=["i1", "no such item"])),
    ("unknown_item", _with(candidates=["i1", "x" * 100_000])),
    ("unknown_item", _with(target="\u202e[31m")),
    ("too_few_candidates", _with(candidates=["i1"])),
    ("too_few_candidates", _with(candidates=["i1", "i1", "i1"])),
]
_RARE: Sequence[tuple[str, Callable[[Row], bytes]]] = [
    ("too_long", _with(note="x" * _LONG)),
    ("too_long", _as("y" * _LONG)),
    ("too_long", _as(b"\xff" * _LONG)),
]
_SOUND: Sequence[Callable[[Row], bytes]] = [
    _with(),
    _with(),
    _with(mood={"nested": [[["things"]]]}, target=None),
    lambda row: json.dumps(row, ensure_ascii=False).encode() + b"\r",
    lambda row: b"  " + json.dumps({**row, "note": "\u2028 \0 \U0001f600"}).encode() + b"\t ",
]


@dataclass(frozen=True)
class Planted:
    """What a file holds.

    Attributes:
        rows: How many rows, blank lines not counted.
        sound: The ids of the rows that can be used, by row index.
        reasons: How many of the others there are, by reason.
        reason_at: Why a row cannot be used, by row index.
        blank: How many lines are blank.
    """

    rows: int
    sound: dict[int, str]
    reasons: Counter[str]
    reason_at: dict[int, str]
    blank: int


def write_spoilt_sessions(
    file: Path, shown: Sequence[Session], rows: int, draws: random.Random
) -> Planted:
    """Write a file of JSON lines.

    Args:
        file: Where.
        shown: Sessions that the rows are made of, each time in another order of their items.
        rows: How many rows, at least 1.
        draws: Where chance comes from.
    """
    sound: dict[int, str] = {}
    reason_at: dict[int, str] = {}
    # Where an id first was, and whether the row could be used: a second one may use the id of one
    # that could not.
    used: list[str] = []
    blank = 0
    with file.open("wb") as stream:
        stream.write(b"\xef\xbb\xbf")
        for index in range(rows):
            if draws.random() < 0.05:
                stream.write(draws.choice([b"\n", b"   \n", b"\t\r\n"]))
                blank += 1
            row = _row(shown, index)
            kind = draws.random()
            if kind >= _SPOILT:
                line = draws.choice(_SOUND)(row)
                sound[index] = str(row["session_id"])
                used.append(sound[index])
            elif kind < 0.04 and used:
                # Of a row that is still worked on, or of one that was done long ago.
                at = -1 - draws.randrange(8) if kind < 0.02 else draws.randrange(len(used))
                line = _with(session_id=used[max(at, -len(used))])(row)
                reason_at[index] = "duplicate_id"
            else:
                ways = _RARE if draws.random() < 0.002 else _WAYS
                reason_at[index], spoil = draws.choice(ways)
                line = spoil(row)
            stream.write(line + b"\n")
    return Planted(rows, sound, Counter(reason_at.values()), reason_at, blank)


def _row(shown: Sequence[Session], index: int) -> Row:
    one, turn = shown[index % len(shown)], index // len(shown)
    by = turn % len(one.items)
    at = turn // len(one.items) % len(one.candidates)
    return {
        "session_id": f"s{index}",
        "items": [*one.items[by:], *one.items[:by]],
        "candidates": [*one.candidates[at:], *one.candidates[:at]],
    }
