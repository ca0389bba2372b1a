"""What a model is shown of a session: numbered history, candidates with handles, all as data."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from agentrec.catalog import Catalog
from agentrec.sessions import Session

HISTORY_LENGTH = 10


def as_data(text: str) -> str:
    """Take from a text what could open or close a data block in a prompt."""
    return text.replace("<", "‹").replace(">", "›")


@dataclass(frozen=True)
class SessionView:
    """A session as a prompt shows it.

    Attributes:
        session_id: The session.
        history: Labels of the last items, oldest first.
        candidate_ids: Item ids in the order in which they are shown: a permutation drawn from
            the session's id and a seed, so that no place in the list means anything.
        candidate_labels: The label of each, in the same order.
    """

    session_id: str
    history: tuple[str, ...]
    candidate_ids: tuple[str, ...]
    candidate_labels: tuple[str, ...]

    @classmethod
    def of(cls, session: Session, catalog: Catalog, seed: int = 0) -> SessionView:
        """Prepare a session for showing.

        Args:
            session: A session with at least one candidate.
            catalog: Where the labels come from.
            seed: Seed of the candidate order.

        Raises:
            ValueError: If the session has no candidates.
        """
        if not session.candidates:
            raise ValueError(f"session {session.session_id!r} has no candidates")
        return _view(session, catalog, seed)

    @cached_property
    def history_block(self) -> str:
        """The history as numbered lines."""
        return numbered(self.history)

    @cached_property
    def candidate_block(self) -> str:
        """The candidates, one a line, as ``C01 | label``."""
        return "\n".join(
            f"{handle(place)} | {as_data(label)}"
            for place, label in enumerate(self.candidate_labels)
        )


# One session is shown many times over, once for each hint that is tried on it.
@lru_cache(maxsize=4096)
def _view(session: Session, catalog: Catalog, seed: int) -> SessionView:
    digest = hashlib.sha256(f"{seed}\x00{session.session_id}".encode()).digest()
    # Sorting first makes the order a function of the set alone, not of how it was listed.
    shown = sorted(session.candidates)
    random.Random(digest).shuffle(shown)
    return SessionView(
        session_id=session.session_id,
        history=tuple(catalog.labels[i] for i in session.items[-HISTORY_LENGTH:]),
        candidate_ids=tuple(shown),
        candidate_labels=tuple(catalog.labels[i] for i in shown),
    )


def handle(place: int) -> str:
    """The handle of the candidate at a 0-based place: C01, C02, ..."""
    return f"C{place + 1:02d}"


def numbered(labels: Sequence[str]) -> str:
    """Labels as numbered lines of data."""
    return "\n".join(f"{n}. {as_data(label)}" for n, label in enumerate(labels, start=1))


def hint_block(hint: str | None) -> str:
    """The one way in which a hint enters a prompt; no hint leaves no trace at all."""
    return "" if hint is None else f"\n<hint>\n{as_data(hint)}\n</hint>\n"
