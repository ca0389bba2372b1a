"""From what a search found to what a policy is offered, for one session or many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrec.components import Components
from agentrec.hint_offers import NO_CANDIDATE, HintChoices, HintOffer
from agentrec.hints import Hint, ScoredHint
from agentrec.sessions import Session

# Vectors of hints kept as rows: what a few knowledge bases offer again and again.
_ROWS_KEPT = 1024


def offer_of(
    states: npt.NDArray[np.float32], found: Sequence[Sequence[ScoredHint]], dimension: int = 0
) -> HintOffer:
    """Offer each session the hints that were found for it.

    Args:
        states: Encoded sessions, ``[batch, state_dim]``.
        found: What a search found for each of them, nearest first, as many lists as states.
        dimension: Length of the hints' vectors, for where no hint was found that tells.

    Returns:
        The offer: candidates in the order given, each hint once among ``hints``, in the order in
        which the lists name them. A hint whose store does not tell its vector has one of zeros.

    Raises:
        ValueError: If there are more or fewer lists than states, or vectors of several lengths.
    """
    if len(found) != len(states):
        raise ValueError(f"{len(states)} sessions need as many lists of hints, not {len(found)}")
    places: dict[str, int] = {}
    # By the object: a hint's id is worked out from its text each time that it is asked for.
    places_of_objects: dict[int, int] = {}
    hints: list[Hint] = []
    vectors: list[tuple[float, ...]] = []
    shape = (len(found), max(map(len, found), default=0))
    candidates = np.full(shape, NO_CANDIDATE, dtype=np.int64)
    similarities = np.zeros(shape, dtype=np.float32)
    for row, scored in enumerate(found):
        for each in scored:
            if id(each.hint) in places_of_objects:
                continue
            place = places.setdefault(each.hint.hint_id, len(hints))
            places_of_objects[id(each.hint)] = place
            if place == len(hints):
                hints.append(each.hint)
                vectors.append(each.vector)
        candidates[row, : len(scored)] = [places_of_objects[id(each.hint)] for each in scored]
        similarities[row, : len(scored)] = [each.similarity for each in scored]
    return HintOffer(states, tuple(hints), _as_rows(vectors, dimension), candidates, similarities)


async def offer_to(sessions: Sequence[Session], components: Components) -> HintOffer:
    """What the recommendation graph would offer each of many sessions.

    Args:
        sessions: The sessions; may be none.
        components: The parts; the encoder and the store are each called once.
    """
    encoder = components.encoder

    def encode() -> tuple[npt.NDArray[np.float32], list[list[float]]]:
        queries: list[list[float]] = encoder.queries(sessions).tolist()
        return encoder.states(sessions), queries

    states, queries = await asyncio.to_thread(encode)
    found = await components.hint_store.search_many(queries, components.hints_offered)
    dimension = len(queries[0]) if queries else 0
    return await asyncio.to_thread(offer_of, states, found, dimension)


async def choose_for(sessions: Sequence[Session], components: Components) -> HintChoices:
    """Let the policy choose for many sessions at once: what the recommendation graph would.

    Args:
        sessions: The sessions; may be none.
        components: The parts; the encoder, the store and the policy are each called once.
    """
    offer = await offer_to(sessions, components)
    return await asyncio.to_thread(components.hint_policy.choose, offer)


def _as_rows(vectors: Sequence[tuple[float, ...]], dimension: int) -> npt.NDArray[np.float32]:
    dimension = max(map(len, vectors), default=0) or dimension
    rows = np.zeros((len(vectors), dimension), dtype=np.float32)
    for row, vector in enumerate(vectors):
        if vector:
            if len(vector) != dimension:
                raise ValueError(f"vectors have {len(vector)} and {dimension} numbers")
            rows[row] = _ROWS.of(vector)
    return rows


class _KnownRows:
    """Tuples of numbers as arrays, known by the object: stores hand out the same ones again.

    Reading 384 Python numbers takes longer than all else that is done with a hint.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[tuple[float, ...], npt.NDArray[np.float32]]] = {}

    def of(self, vector: tuple[float, ...]) -> npt.NDArray[np.float32]:
        known = self._rows.get(id(vector))
        if known is not None:
            return known[1]
        row = np.array(vector, dtype=np.float32)
        # What can change under its address is read each time.
        if type(vector) is tuple:
            if len(self._rows) >= _ROWS_KEPT:
                self._rows.clear()
            # With the tuple itself: as long as it is kept, no other object has its address.
            self._rows[id(vector)] = vector, row
        return row


_ROWS = _KnownRows()
