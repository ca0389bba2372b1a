"""What a ranking is worth when several items are right.

Source: RLRF4Rec, whose rewards and results are NDCG@K and MAP@K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agentrec.evaluation.metrics import CUTOFF


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
