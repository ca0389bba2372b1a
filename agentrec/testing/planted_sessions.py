"""A small data set, as a folder, in which known hints help known sessions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

KINDS = ("garden", "kitchen", "travel", "music")
THINGS = ("lamp", "chair", "basket", "clock", "mirror", "drum", "kettle", "carpet", "ladder")
EARLIEST, LATEST = 1960, 2020

Wish = Literal["late", "early"]

_HISTORY = 6
_OFF_TASTE = 0.15
_WISHED_FOR = 4


@dataclass(frozen=True)
class PlantedSessions:
    """The written data set, and the truth behind it.

    Attributes:
        folder: The folder, in the neutral format.
        wishes: By session id, the end of the scale at which its target lies: the later or
            the earlier items of its candidates. It follows from the history, whose items are
            mostly ``garden`` and ``kitchen`` (late) or ``travel`` and ``music`` (early).
        years: By item id, its year, the position on the scale, ``EARLIEST`` to ``LATEST``.
    """

    folder: Path
    wishes: Mapping[str, Wish]
    years: Mapping[str, int]


def write_planted_sessions(
    folder: Path,
    *,
    num_items: int = 120,
    num_train: int = 120,
    num_valid: int = 30,
    num_test: int = 30,
    num_candidates: int = 20,
    predictability: float = 1.0,
    titles_only: bool = False,
    seed: int = 0,
) -> PlantedSessions:
    """Write sessions whose targets cannot be guessed from similarity to the history.

    A history is mostly of one kind; candidates are of all kinds. The target is one of the four
    latest candidates where the history is of a kind that wishes for late items, else one of the
    four earliest. So "Prefer later years" helps one half of the sessions and harms the other, and
    the history shows to which half a session belongs.

    Args:
        folder: Where to write; missing folders are created, existing files replaced.
        num_items: Size of the catalogue, more than ``num_candidates`` + 6.
        num_train: Training sessions, at least 1.
        num_valid: Validation sessions, at least 1.
        num_test: Test sessions, at least 1.
        num_candidates: Candidates per session, at least 5.
        predictability: Share of targets that follow the rule, 0 to 1; the others are drawn
            uniformly from the candidates.
        titles_only: Leave the attributes out; titles alone then name an item's kind and its half
            of the scale (``modern`` or ``antique``).
        seed: Same seed, same files.

    Raises:
        ValueError: If a number is out of range.
    """
    if not 0 <= predictability <= 1:
        raise ValueError(f"predictability is from 0 to 1, not {predictability}")
    if num_candidates <= _WISHED_FOR or num_items <= num_candidates + _HISTORY:
        raise ValueError(
            f"num_candidates is at least {_WISHED_FOR + 1}, and num_items more than {_HISTORY}"
            f" above it; not {num_candidates} and {num_items}"
        )
    generator = np.random.default_rng(seed)
    item_ids = [f"i{number}" for number in range(num_items)]
    kinds = {item_id: KINDS[n % len(KINDS)] for n, item_id in enumerate(item_ids)}
    drawn = generator.integers(EARLIEST, LATEST + 1, size=num_items).tolist()
    years = dict(zip(item_ids, drawn, strict=True))
    items = []
    for number, item_id in enumerate(item_ids):
        thing = THINGS[int(generator.integers(len(THINGS)))]
        kind, year = kinds[item_id], years[item_id]
        age = "modern" if year > (EARLIEST + LATEST) / 2 else "antique"
        said = {"title": f"{age.title()} {kind} {thing} {number}"}
        known = {"title": f"{thing.title()} {number}", "kind": kind, "year": year}
        items.append({"item_id": item_id, **(said if titles_only else known)})
    wishes: dict[str, Wish] = {}

    def session(session_id: str) -> Mapping[str, object]:
        taste = KINDS[int(generator.integers(len(KINDS)))]
        wish: Wish = "late" if taste in KINDS[:2] else "early"
        liking = np.array([1.0 if kinds[i] == taste else _OFF_TASTE / 3 for i in item_ids])
        history = generator.choice(item_ids, _HISTORY, replace=False, p=liking / liking.sum())
        rest = [item_id for item_id in item_ids if item_id not in history]
        candidates = generator.choice(rest, num_candidates, replace=False).tolist()
        ordered = sorted(candidates, key=lambda i: (years[i], i), reverse=wish == "late")
        follows = generator.random() < predictability
        among = ordered[:_WISHED_FOR] if follows else ordered
        wishes[session_id] = wish
        return {
            "session_id": session_id,
            "items": history.tolist(),
            "target": among[int(generator.integers(len(among)))],
            "candidates": candidates,
        }

    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "items.jsonl", items)
    for split, count in (("train", num_train), ("valid", num_valid), ("test", num_test)):
        records = [session(f"{split}-{number}") for number in range(count)]
        _write(folder / f"sessions.{split}.jsonl", records)
    return PlantedSessions(folder, wishes, years)


def _write(file: Path, records: Iterable[Mapping[str, object]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    file.write_text("".join(lines), encoding="utf-8", newline="\n")
