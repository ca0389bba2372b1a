"""Candidates: the target and negatives to rank it against, drawn reproducibly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from agentrec.catalog import Catalog
from agentrec.data.dataset import Dataset
from agentrec.errors import InputError
from agentrec.sessions import Session

Negatives = Literal["popularity", "uniform"]

NEGATIVES_PER_SESSION = 49
POPULARITY_EXPONENT = 0.75


def item_counts(sessions: Iterable[Session], catalog: Catalog) -> npt.NDArray[np.int64]:
    """Count how often each item was interacted with, as history or as target.

    Popularity is knowledge about behaviour: count in training sessions only.

    Args:
        sessions: Their items and targets are all in the catalogue.
        catalog: The items.

    Returns:
        Counts, shape ``[num_items]``, in the order of ``catalog.item_ids``.
    """
    counts = np.zeros(len(catalog), dtype=np.int64)
    for session in sessions:
        for item_id in session.items:
            counts[catalog.index[item_id]] += 1
        if session.target is not None:
            counts[catalog.index[session.target]] += 1
    return counts


def sampling_weights(
    counts: npt.NDArray[np.int64], negatives: Negatives
) -> npt.NDArray[np.float64]:
    """Turn counts into sampling weights.

    Args:
        counts: Interactions per item, shape ``[num_items]``, none negative.
        negatives: ``popularity``: count to the power of 0.75, so that ranking by popularity alone
            gains little; ``uniform``: 1 for every item.

    Returns:
        Weights, shape ``[num_items]``, none negative; they need not sum to 1.
    """
    if negatives == "uniform":
        return np.ones(len(counts))
    return counts.astype(np.float64) ** POPULARITY_EXPONENT


def draw_negatives(
    weights: npt.NDArray[np.float64],
    excluded: Iterable[int],
    count: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Draw distinct items one by one, each in proportion to its weight.

    Items of weight 0 are drawn, equally likely, only once no other is left.

    Args:
        weights: Shape ``[num_items]``, none negative.
        excluded: Indices never to draw.
        count: How many to draw; fewer where the catalogue has no more.
        generator: Source of randomness.

    Returns:
        Distinct indices in the order drawn, shape ``[at most count]``.
    """
    # An exponential race: arrival times with rate `weight` have the order of draws without
    # replacement, for the whole catalogue in one vector operation.
    waits = generator.standard_exponential(len(weights))
    weighted = weights > 0
    arrivals = np.divide(waits, weights, out=waits.copy(), where=weighted)
    allowed = np.ones(len(weights), dtype=np.bool_)
    allowed[list(excluded)] = False
    order = np.lexsort((arrivals, ~weighted))
    return order[allowed[order]][:count]


def with_candidates(
    dataset: Dataset, negatives: Negatives = "popularity", seed: int = 0
) -> Dataset:
    """Draw candidates for every session without: its target and 49 negatives, shuffled.

    A negative is never the target or an item of the session's own history. The draw depends on the
    seed, the session's id and items, the catalogue and the popularity in the training sessions;
    not on the order or candidates of other sessions. Existing candidates are kept.

    Args:
        dataset: The data set.
        negatives: How to draw; see ``sampling_weights``. Popularity is counted in
            ``dataset.train`` only.
        seed: Seed of the draw, any whole number.

    Returns:
        The data set with candidates everywhere. A small catalogue gives fewer than 49 negatives.

    Raises:
        InputError: If ``negatives`` is unknown, or a session's history and target leave no item
            to draw.
    """
    if negatives not in get_args(Negatives):
        raise InputError(
            f"unknown value {negatives!r}; use one of {', '.join(get_args(Negatives))}",
            field="negatives",
        )
    weights = sampling_weights(item_counts(dataset.train, dataset.catalog), negatives)

    def completed(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
        return tuple(
            session
            if session.candidates
            else _with_drawn_candidates(session, dataset.catalog, weights, seed)
            for session in sessions
        )

    return replace(
        dataset,
        train=completed(dataset.train),
        valid=completed(dataset.valid),
        test=completed(dataset.test),
    )


def with_other_candidates(
    sessions: Iterable[Session], dataset: Dataset, negatives: Negatives, seed: int, draw: int
) -> tuple[Session, ...]:
    """Redraw candidates that ``with_candidates`` drew.

    Args:
        sessions: Some of the data set's sessions.
        dataset: The result of ``with_candidates``.
        negatives: As passed to ``with_candidates``.
        seed: As passed to ``with_candidates``.
        draw: Number of the draw; 0 gives the present candidates.

    Raises:
        InputError: If a session's candidates came with the data: how they were chosen is not
            known, so they cannot be redrawn.
    """
    weights = sampling_weights(item_counts(dataset.train, dataset.catalog), negatives)
    redrawn = []
    for session in sessions:
        if _with_drawn_candidates(session, dataset.catalog, weights, seed) != session:
            raise InputError(
                f"the candidates of session {session.session_id!r} came with the data; only drawn "
                "ones can be redrawn",
                field="candidates",
            )
        redrawn.append(_with_drawn_candidates(session, dataset.catalog, weights, seed, draw))
    return tuple(redrawn)


def _with_drawn_candidates(
    session: Session,
    catalog: Catalog,
    weights: npt.NDArray[np.float64],
    seed: int,
    draw: int = 0,
) -> Session:
    generator = _generator(seed, session.session_id, draw)
    index = catalog.index
    own = [] if session.target is None else [index[session.target]]
    excluded = {*own, *(index[item_id] for item_id in session.items)}
    drawn = draw_negatives(weights, excluded, NEGATIVES_PER_SESSION, generator)
    if not len(drawn):
        raise InputError(
            f"session {session.session_id!r} leaves none of the {len(catalog)} items to draw as a "
            "negative; list its candidates or use a larger catalogue",
            field="candidates",
        )
    positions = generator.permutation(np.concatenate([np.array(own, dtype=np.intp), drawn]))
    return session.model_copy(
        update={"candidates": tuple(catalog.item_ids[position] for position in positions)}
    )


def _generator(seed: int, session_id: str, draw: int) -> np.random.Generator:
    """Return a session's own generator, the same in every process and order."""
    source = f"{seed}\n{session_id}" if draw == 0 else f"{seed}\n{session_id}\ndraw {draw}"
    digest = hashlib.sha256(source.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
