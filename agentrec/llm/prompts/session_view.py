"""A session as a prompt shows it: numbered history and candidates with handles, all as data."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from agentrec.catalog import Catalog
from agentrec.sessions import Session

HISTORY_LENGTH = 10

MAX_CANDIDATES = 100
"""Default of the most candidates that a prompt shows."""

MAX_LABEL_LENGTH = 200
"""Default of the most characters of a label in a prompt: as long as a title can be."""


def as_data(text: str) -> str:
    """Replace everything in a text that could open or close a data block in a prompt."""
    return text.replace("<", "‹").replace(">", "›")


def capped_label(label: str, length: int = MAX_LABEL_LENGTH) -> str:
    """Return a label as a prompt shows it; a cut is marked with an ellipsis."""
    return label if len(label) <= length else label[: length - 1].rstrip() + "…"


@dataclass(frozen=True)
class SessionView:
    """A session as a prompt shows it.

    Attributes:
        session_id: The session.
        history: Labels of the last items, oldest first.
        candidate_ids: Item ids in the order in which they are shown: a permutation drawn from
            the session's id, a seed and the attempt, so that the position means nothing.
        candidate_labels: Their labels, in the same order.
        fill_ids: All candidates, shown or not, in the order that back-fills the list behind the
            candidates that a model named. If empty, that is the order in which they are shown.
        notes: What was left out, one line each.
    """

    session_id: str
    history: tuple[str, ...]
    candidate_ids: tuple[str, ...]
    candidate_labels: tuple[str, ...]
    fill_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        session: Session,
        catalog: Catalog,
        seed: int = 0,
        *,
        attempt: int = 0,
        max_candidates: int = MAX_CANDIDATES,
        label_length: int = MAX_LABEL_LENGTH,
        ordered: bool = False,
    ) -> SessionView:
        """Prepare a session for a prompt.

        More than ``max_candidates`` candidates are cut, in the same way for every attempt. If
        they come best first, as from a search, the first are shown, and their order back-fills
        the list. Otherwise the shown ones are drawn at random from seed and session, and the
        others back-fill behind them. Candidates that are not shown stay candidates.

        Args:
            session: A session with at least one candidate.
            catalog: Where the labels come from.
            seed: Seed of the candidate order.
            attempt: Number of the request for this session, from 0: each has its own order. A
                repair is not a new request: it refers to the same list.
            max_candidates: Most candidates to show, at least 1.
            label_length: Most characters of a label, at least 2; a cut is marked with an
                ellipsis. Handles distinguish labels that are equal when cut.
            ordered: Whether the session's candidates come best first.

        Raises:
            ValueError: If the session has no candidates, or a number is out of range.
        """
        if not session.candidates:
            raise ValueError(f"session {session.session_id!r} has no candidates")
        if attempt < 0 or max_candidates < 1 or label_length < 2:
            raise ValueError(
                "attempt is at least 0, max_candidates at least 1 and label_length at least 2, "
                f"not {attempt}, {max_candidates} and {label_length}"
            )
        cut = (max_candidates, label_length, ordered)
        return _view(session, catalog, seed, attempt, *cut)

    @cached_property
    def history_block(self) -> str:
        """The history as numbered lines."""
        return numbered(self.history)

    @cached_property
    def candidate_block(self) -> str:
        """The candidates, one a line, as ``C01 | label``."""
        # Escaped as a whole: nothing between labels opens or closes a block.
        return as_data(
            "\n".join(
                f"{handle(index)} | {label}" for index, label in enumerate(self.candidate_labels)
            )
        )


# One session is shown many times, once for each hint that is tried on it.
@lru_cache(maxsize=4096)
def _view(
    session: Session,
    catalog: Catalog,
    seed: int,
    attempt: int,
    max_candidates: int,
    label_length: int,
    ordered: bool,
) -> SessionView:
    first = _permuted(session.candidates, f"{seed}\x00{session.session_id}")
    fill_order = list(session.candidates) if ordered else first
    chosen = set(fill_order[:max_candidates])
    shown = [item_id for item_id in first if item_id in chosen]
    if attempt:
        shown = _permuted(shown, f"{seed}\x00{session.session_id}\x00{attempt}")
    history = session.items[-HISTORY_LENGTH:]
    whole = catalog.labels
    labels = {i: capped_label(whole[i], label_length) for i in (*history, *shown)}
    return SessionView(
        session_id=session.session_id,
        history=tuple(labels[i] for i in history),
        candidate_ids=tuple(shown),
        candidate_labels=tuple(labels[i] for i in shown),
        # Not in the first attempt's order, or all shuffles would back-fill the same items.
        fill_ids=tuple(
            fill_order if ordered else (*shown, *(i for i in fill_order if i not in chosen))
        ),
        notes=_notes(
            len(shown),
            len(fill_order),
            ordered,
            sum(label != whole[i] for i, label in labels.items()),
            label_length,
        ),
    )


def _permuted(item_ids: Sequence[str], source: str) -> list[str]:
    # Sorting first makes the order depend on the set alone, not on its order.
    permuted = sorted(item_ids)
    random.Random(hashlib.sha256(source.encode()).digest()).shuffle(permuted)
    return permuted


def _notes(shown: int, given: int, ordered: bool, cut: int, length: int) -> tuple[str, ...]:
    notes = []
    if shown < given:
        how = "the first" if ordered else "drawn by lot"
        notes.append(f"the model was shown {shown} of {given} candidates, {how}")
    if cut:
        notes.append(f"{cut} labels were cut to {length} characters")
    return tuple(notes)


def handle(index: int) -> str:
    """Return the handle of the candidate at a 0-based index: C01, C02, ..."""
    return f"C{index + 1:02d}"


def numbered(labels: Sequence[str]) -> str:
    """Return labels as numbered lines of data."""
    return as_data("\n".join(f"{n}. {label}" for n, label in enumerate(labels, start=1)))


def preference_block(preference: str | None) -> str:
    """Return a preference text as a block of a prompt; empty without one."""
    if preference is None:
        return ""
    return (
        f"\n<preference>\n{as_data(preference)}\n</preference>\n\n"
        "In <preference> stands what somebody who read the user's history takes them to like.\n"
    )


def hint_block(hint: str | None) -> str:
    """Return a hint as a block of a prompt; empty without one."""
    return "" if hint is None else f"\n<hint>\n{as_data(hint)}\n</hint>\n"
