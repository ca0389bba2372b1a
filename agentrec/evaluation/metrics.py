"""What a ranking is worth when one item is right.

Every session has one relevant item, its target, at a 1-based rank in the list that came back. A
rank of 0 stands for "not in the list" in arrays, ``None`` in single values.

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
"""What every report shows. ``mrr`` is MRR@10: the list that counts has ten places."""

CUTOFF = 10


def as_ranks(ranks: Iterable[int | None]) -> Ranks:
    """Turn single ranks into an array.

    Args:
        ranks: One a session, at least 1, or ``None`` where the target is not in the list.

    Returns:
        Shape ``[sessions]``, 0 for ``None``.

    Raises:
        ValueError: If a rank is below 1.

    >>> as_ranks([1, None, 3]).tolist()
    [1, 0, 3]
    """
    values: list[int] = []
    for rank in ranks:
        if rank is not None and rank < 1:
            raise ValueError(f"a rank is at least 1, or None; not {rank}")
        values.append(rank or 0)
    return np.array(values, dtype=np.int64)


def ndcg_of_ranks(ranks: Ranks, k: int = CUTOFF) -> Scores:
    r"""NDCG@k of each session.

    With one relevant item the ideal gain is 1, so ``NDCG = 1 / log2(rank + 1)`` if the rank is
    within the first ``k`` places, else 0.

    Args:
        ranks: Shape ``[sessions]``, 0 for absent.
        k: Places that count, at least 1.

    Returns:
        Shape ``[sessions]``, 0 to 1, higher is better.
    """
    return np.where(_counts(ranks, k), 1.0 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0)


def hits_of_ranks(ranks: Ranks, k: int = CUTOFF) -> Scores:
    """Whether each session's target is within the first ``k`` places: 1 or 0.

    Args:
        ranks: Shape ``[sessions]``, 0 for absent.
        k: Places that count, at least 1.

    Returns:
        Shape ``[sessions]``; the mean is the hit rate.
    """
    return _counts(ranks, k).astype(np.float64)


def reciprocals_of_ranks(ranks: Ranks, k: int = CUTOFF) -> Scores:
    """``1 / rank`` of each session within the first ``k`` places, else 0.

    Args:
        ranks: Shape ``[sessions]``, 0 for absent.
        k: Places that count, at least 1.

    Returns:
        Shape ``[sessions]``, 0 to 1; the mean is MRR@k.
    """
    return np.where(_counts(ranks, k), 1.0 / np.maximum(ranks, 1), 0.0)


def ndcg(rank: int | None, k: int = CUTOFF) -> float:
    """NDCG@k of one session; see ``ndcg_of_ranks``.

    >>> ndcg(1), ndcg(3), ndcg(11), ndcg(None)
    (1.0, 0.5, 0.0, 0.0)
    """
    return float(ndcg_of_ranks(as_ranks([rank]), k)[0])


def hit(rank: int | None, k: int = CUTOFF) -> float:
    """Hit of one session; see ``hits_of_ranks``.

    >>> hit(10), hit(11), hit(None)
    (1.0, 0.0, 0.0)
    """
    return float(hits_of_ranks(as_ranks([rank]), k)[0])


def reciprocal_rank(rank: int | None, k: int = CUTOFF) -> float:
    """Reciprocal rank of one session; see ``reciprocals_of_ranks``.

    >>> reciprocal_rank(4), reciprocal_rank(11), reciprocal_rank(None)
    (0.25, 0.0, 0.0)
    """
    return float(reciprocals_of_ranks(as_ranks([rank]), k)[0])


def score_sessions(ranks: Ranks) -> Mapping[MetricName, Scores]:
    """Every metric of every session.

    Args:
        ranks: Shape ``[sessions]``, 0 for absent.

    Returns:
        One array of shape ``[sessions]`` a metric, in the order of ``METRICS``.
    """
    return {
        "ndcg@10": ndcg_of_ranks(ranks),
        "hr@10": hits_of_ranks(ranks),
        "mrr": reciprocals_of_ranks(ranks),
    }


def _counts(ranks: Ranks, k: int) -> npt.NDArray[np.bool_]:
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    if ranks.size and int(ranks.min()) < 0:
        raise ValueError("a rank is at least 1, or 0 for absent")
    return np.asarray((ranks >= 1) & (ranks <= k), dtype=np.bool_)


def ndcg_of_places(places: Sequence[int | None], k: int = CUTOFF) -> float:
    """NDCG@k, each relevant item being worth the same.

    Args:
        places: Of each relevant item its place in the ranking, from 1, or ``None`` where it is
            not in it; at least one, none twice.
        k: Places that count, at least 1.

    Returns:
        0 to 1, higher is better: 1 if the relevant items come first, as many as fit.

    >>> ndcg_of_places([2, 1]), ndcg_of_places([3]), ndcg_of_places([None, 11])
    (1.0, 0.5, 0.0)
    """
    gain = sum(1 / math.log2(place + 1) for place in _counted(places, k))
    return gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(places))))


def average_precision(places: Sequence[int | None], k: int = CUTOFF) -> float:
    """Average precision at k; its mean over sessions is MAP@k. With one relevant item, 1 / place.

    Args:
        places: As for ``ndcg_of_places``.
        k: Places that count, at least 1.

    Returns:
        0 to 1, higher is better.

    >>> average_precision([1, 4]), average_precision([4]), average_precision([None])
    (0.75, 0.25, 0.0)
    """
    counted = sorted(_counted(places, k))
    return sum((n + 1) / place for n, place in enumerate(counted)) / min(k, len(places))


def ranking_value(places: Sequence[int | None], k: int = CUTOFF) -> float:
    """Mean of NDCG@k and average precision at k, 0 to 1.

    >>> ranking_value([1]), ranking_value([11])
    (1.0, 0.0)
    """
    return (ndcg_of_places(places, k) + average_precision(places, k)) / 2


def _counted(places: Sequence[int | None], k: int) -> list[int]:
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    if not places:
        raise ValueError("a ranking is worth nothing known where no item is relevant")
    if any(place is not None and place < 1 for place in places):
        raise ValueError(f"a place is at least 1, or None; not {list(places)}")
    return [place for place in places if place is not None and place <= k]
