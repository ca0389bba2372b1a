"""Items to rank the target against, drawn once and reproducibly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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

    Popularity is knowledge about behaviour: hand it training sessions only.

    Args:
        sessions: The sessions to count in; every item they name is in the catalogue.
        catalog: Gives the order of the result.

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
    """Turn counts into how likely each item is to be drawn, relative to the others.

    Args:
        counts: Interactions per item, shape ``[num_items]``, none negative.
        negatives: ``popularity``: count to the power of 0.75, so that a guess by fame alone gains
            little; ``uniform``: 1 for every item.

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
    """Draw different items, one after the other, each in proportion to its weight.

    Items of weight 0 are drawn, all equally likely, only once no other is left.

    Args:
        weights: Shape ``[num_items]``, none negative.
        excluded: Positions never to draw.
        count: How many to draw; fewer are given where the catalogue has no more.
        generator: Where the chance comes from.

    Returns:
        Positions in the order drawn, shape ``[at most count]``, without repetition.
    """
    # An exponential race: arrival times of rate `weight` come in the order of drawing one item
    # after the other without replacement, for the whole catalogue in one vector operation.
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
    """Give candidates to every session that has none: its target and 49 negatives, shuffled.

    A negative is never the target or an item of the session's own history. What is drawn for a
    session depends on the seed, its id, its items, the catalogue and the popularity in the
    training sessions; not on the other sessions' order or candidates. Sessions that have
    candidates are left as they are.

    Args:
        dataset: Where the sessions come from.
        negatives: How to draw; see ``sampling_weights``. Popularity is counted in
            ``dataset.train`` only.
        seed: Any whole number; another one gives other negatives.

    Returns:
        The data set with candidates everywhere. A small catalogue gives fewer than 49 negatives.

    Raises:
        InputError: If ``negatives`` is not a known way, or a session's history and target leave
            no item to draw.
    """
    if negatives not in get_args(Negatives):
        raise InputError(
            f"unknown way {negatives!r}; it is one of {', '.join(get_args(Negatives))}",
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
    """Draw candidates anew for sessions that ``with_candidates`` gave theirs.

    Args:
        sessions: Some of the data set's.
        dataset: What ``with_candidates`` made.
        negatives: As it was given to ``with_candidates``.
        seed: As it was given to ``with_candidates``.
        draw: Number of the draw; 0 gives the candidates that the sessions have.

    Raises:
        InputError: If a session's candidates were not drawn like this but came with the data:
            what they are chosen by is not known, so there is no other draw of them.
    """
    weights = sampling_weights(item_counts(dataset.train, dataset.catalog), negatives)
    redrawn = []
    for session in sessions:
        if _with_drawn_candidates(session, dataset.catalog, weights, seed) != session:
            raise InputError(
                f"session {session.session_id!r} came with its candidates; only drawn ones can be "
                "drawn anew",
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
    index: Mapping[str, int] = catalog.index
    own = [] if session.target is None else [index[session.target]]
    excluded = {*own, *(index[item_id] for item_id in session.items)}
    drawn = draw_negatives(weights, excluded, NEGATIVES_PER_SESSION, generator)
    if not len(drawn):
        raise InputError(
            f"session {session.session_id!r} leaves none of the {len(catalog)} items to draw as a "
            "negative; give its candidates or a larger catalogue",
            field="candidates",
        )
    positions = generator.permutation(np.concatenate([np.array(own, dtype=np.intp), drawn]))
    return session.model_copy(
        update={"candidates": tuple(catalog.item_ids[position] for position in positions)}
    )


def _generator(seed: int, session_id: str, draw: int) -> np.random.Generator:
    """Give each session its own chance, the same in every process and order."""
    source = f"{seed}\n{session_id}" if draw == 0 else f"{seed}\n{session_id}\ndraw {draw}"
    digest = hashlib.sha256(source.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
