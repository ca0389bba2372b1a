"""Build the offer of hints to a policy from the results of a search, for one session or many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrec.components import Components
from agentrec.hint_offers import NO_CANDIDATE, HintChoices, HintOffer
from agentrec.hints import Hint, ScoredHint
from agentrec.sessions import Session

_MOST_CACHED_ROWS = 1024


def build_offer(
    states: npt.NDArray[np.float32], found: Sequence[Sequence[ScoredHint]], dimension: int = 0
) -> HintOffer:
    """Offer each session the hints that were found for it.

    Args:
        states: Encoded sessions, ``[batch, state_dim]``.
        found: The search results of each session, nearest first, as many lists as states.
        dimension: Length of the hints' vectors, for offers without any vector.

    Returns:
        The offer: candidates in the order given, and each hint once in ``hints``, in the order of
        its first appearance. A hint without a vector gets zeros.

    Raises:
        ValueError: If the numbers of lists and states differ, or vectors have several lengths.
    """
    if len(found) != len(states):
        raise ValueError(f"{len(states)} sessions need as many lists of hints, not {len(found)}")
    indices: dict[str, int] = {}
    # By object identity: a hint's id is computed from its text each time.
    indices_by_object: dict[int, int] = {}
    hints: list[Hint] = []
    vectors: list[tuple[float, ...]] = []
    shape = (len(found), max(map(len, found), default=0))
    candidates = np.full(shape, NO_CANDIDATE, dtype=np.int64)
    similarities = np.zeros(shape, dtype=np.float32)
    for row, scored in enumerate(found):
        for each in scored:
            if id(each.hint) in indices_by_object:
                continue
            index = indices.setdefault(each.hint.hint_id, len(hints))
            indices_by_object[id(each.hint)] = index
            if index == len(hints):
                hints.append(each.hint)
                vectors.append(each.vector)
        candidates[row, : len(scored)] = [indices_by_object[id(each.hint)] for each in scored]
        similarities[row, : len(scored)] = [each.similarity for each in scored]
    return HintOffer(states, tuple(hints), _as_rows(vectors, dimension), candidates, similarities)


async def offer_hints(sessions: Sequence[Session], components: Components) -> HintOffer:
    """Offer many sessions at once what the recommendation graph would offer each of them.

    Args:
        sessions: The sessions; may be empty.
        components: The components; the encoder and the store are each called once.
    """
    encoder = components.encoder

    def encode() -> tuple[npt.NDArray[np.float32], list[list[float]]]:
        queries: list[list[float]] = encoder.queries(sessions).tolist()
        return encoder.states(sessions), queries

    states, queries = await asyncio.to_thread(encode)
    found = await components.hint_store.search_many(queries, components.hints_offered)
    dimension = len(queries[0]) if queries else 0
    return await asyncio.to_thread(build_offer, states, found, dimension)


async def choose_for(sessions: Sequence[Session], components: Components) -> HintChoices:
    """Let the policy choose for many sessions at once, as the recommendation graph would.

    Args:
        sessions: The sessions; may be empty.
        components: The components; the encoder, the store and the policy are each called once.
    """
    offer = await offer_hints(sessions, components)
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


class _RowCache:
    """Vectors of hints as arrays, cached by object identity: stores return the same tuples again.

    Converting 384 Python numbers takes longer than everything else done with a hint.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[tuple[float, ...], npt.NDArray[np.float32]]] = {}

    def of(self, vector: tuple[float, ...]) -> npt.NDArray[np.float32]:
        cached = self._rows.get(id(vector))
        if cached is not None:
            return cached[1]
        row = np.array(vector, dtype=np.float32)
        # Only tuples: anything else may change.
        if type(vector) is tuple:
            if len(self._rows) >= _MOST_CACHED_ROWS:
                self._rows.clear()
            # Keeps the tuple alive, so that no other object gets its identity.
            self._rows[id(vector)] = vector, row
        return row


_ROWS = _RowCache()
