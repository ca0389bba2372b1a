"""What every hint of a knowledge base was and is: pure computation that all hint stores share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agentrec.catalog import clean_text
from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint, HintEmbedding, HintState, Revision

MAX_NOTE_LENGTH = 300


@dataclass(frozen=True)
class HintVersion:
    """A hint as one revision left it.

    Attributes:
        revision: Number of the revision.
        at: When, with time zone.
        note: What was done, in a few words.
        hint: The hint from then on.
    """

    revision: int
    at: datetime
    note: str
    hint: Hint


@dataclass(frozen=True)
class Change:
    """A revision that is worked out but not stored yet.

    Attributes:
        number: Number of the revision.
        at: When, with time zone.
        note: What is done, one line.
        hints: What it adds or changes, as it is to be stored; may be empty.
    """

    number: int
    at: datetime
    note: str
    hints: tuple[Hint, ...]

    def version(self, hint: Hint) -> HintVersion:
        """One of its hints with what belongs to the revision."""
        return HintVersion(self.number, self.at, self.note, hint)


@dataclass
class _Happened:
    at: datetime
    note: str
    hint_ids: set[str] = field(default_factory=set)


class HintHistory:
    """Every version of every hint.

    A store first has a change worked out, then stores it, then has it recorded: what could not be
    stored is never remembered.
    """

    def __init__(self) -> None:
        self._versions: dict[str, list[HintVersion]] = {}
        self._places: dict[str, int] = {}
        self._happened: dict[int, _Happened] = {}
        self._latest = 0

    def __contains__(self, hint_id: object) -> bool:
        return hint_id in self._versions

    def __getitem__(self, hint_id: str) -> Hint:
        return self._versions[hint_id][-1].hint

    def __len__(self) -> int:
        return len(self._versions)

    @property
    def latest(self) -> int:
        """Number of the last revision, 0 before the first."""
        return self._latest

    def place(self, hint_id: str) -> int:
        """The 0-based place of a stored hint in the order of adding."""
        return self._places[hint_id]

    def versions(self, hint_id: str) -> tuple[HintVersion, ...]:
        """Every version of a hint, the first one first; empty if it is not stored."""
        return tuple(self._versions.get(hint_id, ()))

    def get(self, hint_id: str) -> Hint | None:
        """A hint as it is now."""
        versions = self._versions.get(hint_id)
        return versions[-1].hint if versions else None

    def all(self, states: Sequence[HintState] = STATES) -> list[Hint]:
        """The hints that are now in some states, in the order of adding."""
        current = (versions[-1].hint for versions in self._versions.values())
        return [hint for hint in current if hint.state in states]

    def revisions(self) -> list[Revision]:
        """Every revision, the first one first."""
        return [
            Revision(
                number=number,
                at=happened.at,
                note=happened.note,
                hint_ids=tuple(sorted(happened.hint_ids, key=self.place)),
            )
            for number, happened in sorted(self._happened.items())
        ]

    def as_of(self, revision: int) -> list[Hint]:
        """The hints as a revision left them, in the order of adding.

        Raises:
            StoreError: If there is no such revision.
        """
        self._check_revision(revision)
        found = []
        for versions in self._versions.values():
            known = [version.hint for version in versions if version.revision <= revision]
            found += known[-1:]
        return found

    def adding(
        self, hints: Sequence[Hint], note: str, embedding: HintEmbedding | None
    ) -> tuple[list[bool], Change | None]:
        """Work out what adding hints does.

        Args:
            hints: The hints.
            note: What is done.
            embedding: What their vectors were made with, if the store knows.

        Returns:
            For each hint whether it is new, and the change; ``None`` if none is.
        """
        new: dict[str, Hint] = {}
        answers = []
        for hint in hints:
            answers.append(hint.hint_id not in self and hint.hint_id not in new)
            if answers[-1]:
                new[hint.hint_id] = hint.model_copy(update={"version": 1, "embedding": embedding})
        return answers, self._change(new.values(), note) if new else None

    def changing(self, hints: Sequence[Hint], note: str) -> Change:
        """Work out what putting hints in the place of stored ones does.

        Raises:
            StoreError: If an id is not stored.
        """
        changed = []
        for hint in hints:
            stored = self.get(hint.hint_id)
            if stored is None:
                raise StoreError(
                    f"there is no hint {hint.hint_id} in this knowledge base; add it first"
                )
            changed.append(_next_version(stored, hint))
        return self._change(changed, note)

    def rolling_back(self, revision: int) -> Change:
        """Work out what bringing a revision back does; what is as it was then is not touched.

        Raises:
            StoreError: If there is no such revision.
        """
        then = {hint.hint_id: hint for hint in self.as_of(revision)}
        changed = []
        for stored in self.all():
            wanted = then.get(stored.hint_id)
            if wanted is None:
                reason = f"added after revision {revision}, which was brought back"
                wanted = stored
                if stored.state != "retired":
                    wanted = stored.model_copy(update={"state": "retired", "reason": reason})
            brought_back = _next_version(stored, wanted)
            if brought_back.model_copy(update={"version": stored.version}) != stored:
                changed.append(brought_back)
        return self._change(changed, f"rolled back to revision {revision}")

    def embedding_anew(self, embedding: HintEmbedding) -> Change:
        """Work out what new vectors for all hints do."""
        changed = [
            hint.model_copy(update={"version": hint.version + 1, "embedding": embedding})
            for hint in self.all()
        ]
        return self._change(changed, f"embedded anew with {embedding.model or 'another model'}")

    def record(self, change: Change) -> None:
        """Remember a change that was stored."""
        self.remember_revision(change.number, change.at, change.note)
        for hint in change.hints:
            known = self._versions.get(hint.hint_id, [])
            self.remember_hint([*known, change.version(hint)])

    def remember_hint(self, versions: Sequence[HintVersion]) -> None:
        """Remember all versions of a hint, the first one first, in the place of what was known.

        Hints are given in the order of adding.
        """
        hint_id = versions[0].hint.hint_id
        self._places.setdefault(hint_id, len(self._places))
        self._versions[hint_id] = list(versions)
        for version in versions:
            self.remember_revision(version.revision, version.at, version.note)
            self._happened[version.revision].hint_ids.add(hint_id)

    def remember_revision(self, number: int, at: datetime, note: str) -> None:
        """Remember a revision by itself; it need not have touched a hint."""
        self._happened.setdefault(number, _Happened(at, note))
        self._latest = max(self._latest, number)

    def _change(self, hints: Iterable[Hint], note: str) -> Change:
        # A clock that was set back must not put a revision before the one it follows.
        now = datetime.now(UTC)
        last = self._happened.get(self.latest)
        ordered = sorted(hints, key=lambda hint: self._places.get(hint.hint_id, len(self)))
        return Change(
            number=self.latest + 1,
            at=now if last is None else max(now, last.at),
            note=clean_text(note, MAX_NOTE_LENGTH),
            hints=tuple(ordered),
        )

    def _check_revision(self, revision: int) -> None:
        if revision != 0 and revision not in self._happened:
            raise StoreError(
                f"there is no revision {revision}; this knowledge base has 0 to {self.latest}"
            )


_NAMESPACE = re.compile(r"[\w.-]{0,64}")


def check_namespace(namespace: str) -> None:
    """Refuse what no hint can have as its namespace.

    Raises:
        ValueError: It is longer than 64 characters or holds other characters than letters, digits,
            ``_``, ``.`` and ``-``.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(
            f"a namespace is at most 64 letters, digits, '_', '.' and '-', not {namespace[:80]!r}"
        )


def check_of_namespace(hints: Sequence[Hint], namespace: str) -> None:
    """Refuse hints of another namespace.

    Raises:
        ValueError: If there is one.
    """
    for hint in hints:
        if hint.namespace != namespace:
            raise ValueError(
                f"this knowledge base is of namespace {namespace!r}, the hint of {hint.namespace!r}"
            )


def check_each_once(hints: Sequence[Hint]) -> None:
    """Refuse two hints of one id.

    Raises:
        ValueError: If an id comes twice.
    """
    if len({hint.hint_id for hint in hints}) < len(hints):
        raise ValueError("a hint comes twice in one change; give each id once")


def _next_version(stored: Hint, wanted: Hint) -> Hint:
    """What is wanted, with what of a stored hint never changes."""
    kept = {"text": stored.text, "version": stored.version + 1, "embedding": stored.embedding}
    return wanted.model_copy(update=kept)
