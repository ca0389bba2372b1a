"""A session out of a record: what it must hold, and how much it may hold."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentrec.data.records import PlacedRecord, Record, RowError
from agentrec.sessions import Session

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


SESSION_FIELDS = frozenset({"session_id", "items", "target", "candidates", "user_id"})

_MOST_SHOWN = 80
"""Most characters of an id in a fault, which is one line for people."""


@dataclass(frozen=True, slots=True)
class SessionFields:
    """Makes sessions of records.

    Attributes:
        known: The ids of the catalogue.
        to_rank: Whether the sessions are to be ranked for: then candidates are needed and the
            target is not. In a data set it is the other way round.
        limits: How much a session may hold; ``None`` for any amount.
    """

    known: frozenset[str]
    to_rank: bool = False
    limits: RowLimits | None = None

    def read(self, record: PlacedRecord) -> tuple[Session, int]:
        """Make a session, and count the candidates dropped for being there already.

        Raises:
            RowError: If a field is missing or wrong.
        """
        fields, limits = record.fields, self.limits
        session_id = self.own_id(record, "session_id")
        items = self._known_ids(record, "items", limits.items if limits else None)
        if not items:
            raise record.fault("is empty; a session needs at least one item", "items", "empty")
        target = None
        if not self.to_rank or fields.get("target") is not None:
            target = record.identity("target")
            self._check_known(record, "target", target)
        user = None if fields.get("user_id") is None else self.own_id(record, "user_id")
        candidates: tuple[str, ...] = ()
        dropped = 0
        if self.to_rank or fields.get("candidates") is not None:
            candidates, dropped = self._candidates(record, target)
        session = Session(
            session_id=session_id,
            items=tuple(items),
            target=target,
            candidates=candidates,
            user_id=user,
        )
        return session, dropped

    def own_id(self, record: PlacedRecord, name: str) -> str:
        """Give the id of a session or a user, which nothing but the limits bounds.

        Raises:
            RowError: If it is missing, no id, or beyond the limits.
        """
        found = record.identity(name)
        if self.limits is not None:
            if len(found) > self.limits.id_characters:
                problem = f"is longer than {self.limits.id_characters:,} characters"
                raise record.fault(problem, name, "too_long")
            if "\0" in found:
                problem = "holds a NUL character, which many programs cannot"
                raise record.fault(problem, name, "bad_text")
        return found

    def _candidates(self, record: PlacedRecord, target: str | None) -> tuple[tuple[str, ...], int]:
        limits = self.limits
        given = self._known_ids(record, "candidates", limits.candidates if limits else None)
        candidates = tuple(dict.fromkeys(given))
        if len(candidates) < 2:
            problem = "holds fewer than 2 different items"
            if not self.to_rank:
                problem += "; leave the field out to have them drawn"
            raise record.fault(problem, "candidates", "too_few_candidates")
        if target is not None and target not in candidates:
            problem = f"lacks the target {_shown(target)}"
            raise record.fault(problem, "candidates", "target_not_offered")
        return candidates, len(given) - len(candidates)

    def _known_ids(self, record: PlacedRecord, name: str, most: int | None) -> list[str]:
        values = record.required(name)
        if isinstance(values, list):
            if most is not None and len(values) > most:
                problem = f"holds {len(values):,} ids; at most {most:,} may be given"
                raise record.fault(problem, name, "too_many")
            try:
                # Nearly every row is right, and this looks at its ids several times faster. What
                # is equal to a known id is a text, and sound.
                if self.known.issuperset(values):
                    return values
                texts = [str(value) if type(value) is int else value for value in values]
                if self.known.issuperset(texts):
                    return texts
            except TypeError:
                # Lists and objects cannot be looked up; what is wrong is said below.
                pass
        found = record.identities(name)
        for item_id in found:
            self._check_known(record, name, item_id)
        return found

    def _check_known(self, record: PlacedRecord, name: str, item_id: str) -> None:
        if item_id not in self.known:
            where = "the catalogue" if self.to_rank else "items.jsonl"
            problem = f"{_shown(item_id)} is not an item_id in {where}"
            raise record.fault(problem, name, "unknown_item")


def _shown(item_id: str) -> str:
    return repr(item_id if len(item_id) <= _MOST_SHOWN else item_id[: _MOST_SHOWN - 1] + "…")
