"""A session out of a record: what it must hold, and how much it may hold."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentrec.data.records import LocatedRecord, Record, RowError
from agentrec.sessions import Session

SESSION_FIELDS = frozenset({"session_id", "items", "target", "candidates", "user_id"})
MAX_EXCERPT = 500
"""Most characters of a row that are shown to people."""
_MAX_SHOWN_ID = 80
"""Most characters of an id in an error, which is one line for people."""


@dataclass(frozen=True, slots=True)
class RowLimits:
    """How much one row of a file may hold; a row beyond it is rejected.

    Attributes:
        line_bytes: Most bytes of a line, without its end, at least 1. No more of a longer line is
            ever in memory. Parquet has no lines.
        id_characters: Most characters of a session's or a user's id, at least 1. Item ids are
            bounded by the catalogue.
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
class RawRow:
    """One row of a file of any format, before anybody asks what it means.

    Attributes:
        line: Its 1-based line; ``None`` in a file without lines.
        record: Its fields, as many as could be read.
        error: Why its form is wrong; ``None`` if it is right.
        raw: The row as it stood, or the beginning of it.
    """

    line: int | None
    record: Record
    error: RowError | None
    raw: bytes | Record

    def excerpt(self) -> str:
        """Return one line of at most ``MAX_EXCERPT`` printable characters, for people."""
        if isinstance(self.raw, bytes):
            # A character has at most 4 bytes; one that is cut here is beyond what is shown.
            text = self.raw[: 4 * MAX_EXCERPT + 4].decode("utf-8", "backslashreplace")
        else:
            text = json.dumps(self.raw, ensure_ascii=False)
        # Escapes only make it longer: what follows these characters is never shown.
        shown = text[: MAX_EXCERPT + 1]
        if not shown.isprintable():
            # Nothing may hide in it or move the cursor.
            shown = "".join(
                char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
                for char in shown
            )
        return shown if len(shown) <= MAX_EXCERPT else shown[: MAX_EXCERPT - 1] + "…"


@dataclass(frozen=True, slots=True)
class SessionParser:
    """Makes sessions of records.

    Attributes:
        known: The ids of the catalogue; ``None`` accepts any id.
        required: Which of ``target`` and ``candidates`` a session must have.
        limits: How much a session may hold; ``None`` for any amount.
        catalog_name: What errors call the catalogue.
    """

    known: frozenset[str] | None
    required: frozenset[str] = frozenset()
    limits: RowLimits | None = None
    catalog_name: str = "the catalogue"

    def parse(self, record: LocatedRecord) -> tuple[Session, int]:
        """Make a session, and count the repeated candidates that were dropped.

        Raises:
            RowError: If a field is missing or wrong.
        """
        limits = self.limits
        session_id = self.own_id(record, "session_id")
        items = self._item_ids(record, "items", limits.items if limits else None)
        if not items:
            raise record.error("is empty; a session needs at least one item", "items", "empty")
        target = None
        if self._has(record, "target"):
            target = record.identity("target")
            self._check_known(record, "target", target)
        has_user = record.fields.get("user_id") is not None
        user_id = self.own_id(record, "user_id") if has_user else None
        candidates: tuple[str, ...] = ()
        repeated = 0
        if self._has(record, "candidates"):
            candidates, repeated = self._candidates(record, target)
        session = Session(
            session_id=session_id,
            items=tuple(items),
            target=target,
            candidates=candidates,
            user_id=user_id,
        )
        return session, repeated

    def own_id(self, record: LocatedRecord, name: str) -> str:
        """Return the id of a session or a user, which only the limits bound.

        Raises:
            RowError: If it is missing, no id, or beyond the limits.
        """
        found = record.identity(name)
        if self.limits is not None:
            if len(found) > self.limits.id_characters:
                problem = f"is longer than {self.limits.id_characters:,} characters"
                raise record.error(problem, name, "too_long")
            if "\0" in found:
                problem = "holds a NUL character, which many programs cannot handle"
                raise record.error(problem, name, "bad_text")
        return found

    def _has(self, record: LocatedRecord, name: str) -> bool:
        return name in self.required or record.fields.get(name) is not None

    def _candidates(self, record: LocatedRecord, target: str | None) -> tuple[tuple[str, ...], int]:
        limits = self.limits
        listed = self._item_ids(record, "candidates", limits.candidates if limits else None)
        candidates = tuple(dict.fromkeys(listed))
        if len(candidates) < 2:
            problem = "holds fewer than 2 different items"
            if "candidates" not in self.required:
                problem += "; leave the field out to have them drawn"
            raise record.error(problem, "candidates", "too_few_candidates")
        if target is not None and target not in candidates:
            problem = f"lacks the target {_shown(target)}"
            raise record.error(problem, "candidates", "target_not_offered")
        return candidates, len(listed) - len(candidates)

    def _item_ids(self, record: LocatedRecord, name: str, most: int | None) -> list[str]:
        values = record.required(name)
        if isinstance(values, list):
            if most is not None and len(values) > most:
                problem = f"holds {len(values):,} ids; at most {most:,} are allowed"
                raise record.error(problem, name, "too_many")
            if (known := self.known) is not None:
                try:
                    # Nearly every row is right, and this checks its ids several times faster:
                    # what equals a known id is a sound text.
                    if known.issuperset(values):
                        return values
                    texts = [str(value) if type(value) is int else value for value in values]
                    if known.issuperset(texts):
                        return texts
                except TypeError:
                    # Lists and objects cannot be looked up; the error is raised below.
                    pass
        item_ids = record.identities(name)
        for item_id in item_ids:
            self._check_known(record, name, item_id)
        return item_ids

    def _check_known(self, record: LocatedRecord, name: str, item_id: str) -> None:
        if self.known is not None and item_id not in self.known:
            problem = f"{_shown(item_id)} is not an item_id in {self.catalog_name}"
            raise record.error(problem, name, "unknown_item")


def _shown(item_id: str) -> str:
    return repr(item_id if len(item_id) <= _MAX_SHOWN_ID else item_id[: _MAX_SHOWN_ID - 1] + "…")
