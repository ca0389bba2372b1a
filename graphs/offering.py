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
            rows[row] = vector
    return rows
