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

MAX_CANDIDATES = 100
"""How many candidates a prompt shows at most, if nothing else is said."""

MAX_LABEL_LENGTH = 200
"""How long a label may be in a prompt, if nothing else is said: as long as a title can be."""


def as_data(text: str) -> str:
    """Take from a text what could open or close a data block in a prompt."""
    return text.replace("<", "‹").replace(">", "›")


def capped_label(label: str, length: int = MAX_LABEL_LENGTH) -> str:
    """A label as long as a prompt shows it; a cut is marked with an ellipsis."""
    return label if len(label) <= length else label[: length - 1].rstrip() + "…"


@dataclass(frozen=True)
class SessionView:
    """A session as a prompt shows it.

    Attributes:
        session_id: The session.
        history: Labels of the last items, oldest first.
        candidate_ids: Item ids in the order in which they are shown: a permutation drawn from
            the session's id, a seed and the attempt, so that no place in the list means anything.
        candidate_labels: The label of each, in the same order.
        fill_ids: All candidates, shown or not, in the order in which they fill up what a model
            did not name. Where it is left empty, that is the order in which they are shown.
        notes: What a person should know about what was left out, one line each.
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
        """Prepare a session for showing.

        A set of more than ``max_candidates`` is cut, the same for every attempt. Where the
        caller says that candidates come best first, as from a search, the first are shown, and
        what the model does not name is filled up in their order. Where nothing is said, the
        order of a list may mean anything or nothing, so those shown are drawn by lot from seed
        and session, and the others fill up behind them. What is not shown stays a candidate.

        Args:
            session: A session with at least one candidate.
            catalog: Where the labels come from.
            seed: Seed of the candidate order.
            attempt: Number of the request for this session, from 0: each has an order of its
                own. A repair is no new request: it goes on about the list that it refers to.
            max_candidates: Most candidates to show, at least 1.
            label_length: Most characters of a label, at least 2; a cut is marked with an
                ellipsis. Labels that are alike when cut are told apart by their handles.
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
        # Made safe as a whole: nothing that stands between labels opens or closes a block.
        return as_data(
            "\n".join(
                f"{handle(place)} | {label}" for place, label in enumerate(self.candidate_labels)
            )
        )


# One session is shown many times over, once for each hint that is tried on it.
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
    filling = list(session.candidates) if ordered else first
    chosen = set(filling[:max_candidates])
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
        # Not of the first attempt's order, or shuffles would all fill up with the same items.
        fill_ids=tuple(filling if ordered else (*shown, *(i for i in filling if i not in chosen))),
        notes=_notes(
            len(shown),
            len(filling),
            ordered,
            sum(label != whole[i] for i, label in labels.items()),
            label_length,
        ),
    )


def _permuted(item_ids: Sequence[str], drawn_from: str) -> list[str]:
    # Sorting first makes the order a function of the set alone, not of how it was listed.
    permuted = sorted(item_ids)
    random.Random(hashlib.sha256(drawn_from.encode()).digest()).shuffle(permuted)
    return permuted


def _notes(shown: int, given: int, ordered: bool, cut: int, length: int) -> tuple[str, ...]:
    notes = []
    if shown < given:
        how = "the first" if ordered else "drawn by lot"
        notes.append(f"the model was shown {shown} of {given} candidates, {how}")
    if cut:
        notes.append(f"{cut} labels were cut to {length} characters")
    return tuple(notes)


def handle(place: int) -> str:
    """The handle of the candidate at a 0-based place: C01, C02, ..."""
    return f"C{place + 1:02d}"


def numbered(labels: Sequence[str]) -> str:
    """Labels as numbered lines of data."""
    return as_data("\n".join(f"{n}. {label}" for n, label in enumerate(labels, start=1)))


def preference_block(preference: str | None) -> str:
    """The one way in which a text about a user enters a prompt; without one there is no trace."""
    if preference is None:
        return ""
    return (
        f"\n<preference>\n{as_data(preference)}\n</preference>\n\n"
        "In <preference> stands what somebody who read the user's history takes them to like.\n"
    )


def hint_block(hint: str | None) -> str:
    """The one way in which a hint enters a prompt; no hint leaves no trace at all."""
    return "" if hint is None else f"\n<hint>\n{as_data(hint)}\n</hint>\n"
