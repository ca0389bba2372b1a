"""Metrics of rankings with one relevant item, the target, or with several.

Ranks are 1-based positions in the list that was returned. "Not in the list" is 0 in arrays and
``None`` in single values.

Source: Re2LLM (arXiv 2403.16427), section on evaluation: HR@10 and NDCG@10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

MetricName = Literal["ndcg@10", "hr@10", "mrr"]

METRICS: tuple[MetricName, ...] = get_args(MetricName)
"""The metrics of every report; ``mrr`` is MRR@10."""

CUTOFF = 10


def as_ranks(ranks: Iterable[int | None]) -> Ranks:
    """Turn single ranks into an array, ``[sessions]``, with 0 for ``None``.

    Raises:
        ValueError: If a rank is below 1.

    >>> as_ranks([1, None, 3]).tolist()
    [1, 0, 3]
    """
    values = []
    for rank in ranks:
        if rank is not None and rank < 1:
            raise ValueError(f"a rank is at least 1, or None; not {rank}")
        values.append(rank or 0)
    return np.array(values, dtype=np.int64)


def ndcg_of_ranks(ranks: Ranks) -> Scores:
    """NDCG@10 of each session.

    With one relevant item the ideal gain is 1, so ``NDCG = 1 / log2(rank + 1)`` if the rank is
    within the first 10, else 0.

    Args:
        ranks: Shape ``[sessions]``, 0 for absent.

    Returns:
        Shape ``[sessions]``, 0 to 1, higher is better.

    Raises:
        ValueError: If a rank is below 0.
    """
    return np.where(_found(ranks), 1.0 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0)


def ndcg(rank: int | None) -> float:
    """NDCG@10 of one session; see ``ndcg_of_ranks``.

    >>> ndcg(1), ndcg(3), ndcg(11), ndcg(None)
    (1.0, 0.5, 0.0, 0.0)
    """
    return float(ndcg_of_ranks(as_ranks([rank]))[0])


def score_sessions(ranks: Ranks) -> Mapping[MetricName, Scores]:
    """Every metric of every session.

    The hit rate counts ranks within the first 10; MRR is the mean of ``1 / rank`` of these.

    Args:
        ranks: Shape ``[sessions]``, 0 for absent.

    Returns:
        One array of shape ``[sessions]`` per metric, in the order of ``METRICS``.
    """
    found = _found(ranks)
    return {
        "ndcg@10": ndcg_of_ranks(ranks),
        "hr@10": found.astype(np.float64),
        "mrr": np.where(found, 1.0 / np.maximum(ranks, 1), 0.0),
    }


def _found(ranks: Ranks) -> npt.NDArray[np.bool_]:
    if ranks.size and int(ranks.min()) < 0:
        raise ValueError("a rank is at least 1, or 0 for absent")
    return np.asarray((ranks >= 1) & (ranks <= CUTOFF), dtype=np.bool_)


def multi_target_ndcg(ranks: Sequence[int | None], k: int = CUTOFF) -> float:
    """NDCG@k with equally relevant items.

    Args:
        ranks: Rank of each relevant item, or ``None`` where it is not in the list; at least one,
            none twice.
        k: Length of the list that counts, at least 1.

    Returns:
        0 to 1, higher is better: 1 if the relevant items come first, as many as fit.

    Raises:
        ValueError: If there is no item, or ``k`` or a rank is below 1.

    >>> multi_target_ndcg([2, 1]), multi_target_ndcg([3]), multi_target_ndcg([None, 11])
    (1.0, 0.5, 0.0)
    """
    gain = sum(1 / math.log2(rank + 1) for rank in _within(ranks, k))
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(ranks))))


def average_precision(ranks: Sequence[int | None], k: int = CUTOFF) -> float:
    """Average precision at k, 0 to 1; its mean over sessions is MAP@k. See ``multi_target_ndcg``.

    >>> average_precision([1, 4]), average_precision([4]), average_precision([None])
    (0.75, 0.25, 0.0)
    """
    found = sorted(_within(ranks, k))
    return sum((n + 1) / rank for n, rank in enumerate(found)) / min(k, len(ranks))


def ranking_value(ranks: Sequence[int | None], k: int = CUTOFF) -> float:
    """Mean of NDCG@k and average precision at k, 0 to 1.

    >>> ranking_value([1]), ranking_value([11])
    (1.0, 0.0)
    """
    return (multi_target_ndcg(ranks, k) + average_precision(ranks, k)) / 2


def _within(ranks: Sequence[int | None], k: int) -> list[int]:
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    if not ranks:
        raise ValueError("a ranking has no value where no item is relevant")
    if any(rank is not None and rank < 1 for rank in ranks):
        raise ValueError(f"a rank is at least 1, or None; not {list(ranks)}")
    return [rank for rank in ranks if rank is not None and rank <= k]
