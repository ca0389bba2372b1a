"""Cosine geometry that every hint store shares: one notion of direction, one order of results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Found = TypeVar("_Found")

SIMILARITY_DECIMALS = 6
"""Similarities are rounded to this many decimals before they are compared.

The same two vectors give sums that differ in the last bits from one machine, and one row of a
matrix, to the next. Rounding makes what is equal on paper equal in the result, so that ties are
broken by ``hint_id`` everywhere.
"""

_STEPS = 10.0**SIMILARITY_DECIMALS


def unit_vector(vector: Sequence[float], dimension: int) -> npt.NDArray[np.float64]:
    """Scale a vector to length 1.

    Args:
        vector: Any 1-D sequence of finite numbers, not all zero.
        dimension: The length it has to have.

    Returns:
        The direction, shape ``[dimension]``, of Euclidean length 1.

    Raises:
        ValueError: If the shape is another, or the vector has no direction.
    """
    values = np.asarray(vector, dtype=np.float64)
    if values.shape != (dimension,):
        raise ValueError(f"a vector here has shape ({dimension},), not {values.shape}")
    largest = float(np.max(np.abs(values)))
    if not math.isfinite(largest):
        raise ValueError("a vector holds a number that is not finite")
    if largest == 0.0:
        raise ValueError("a vector of zeros has no direction")
    # Dividing by the largest entry first keeps the squares of huge and tiny numbers in range.
    scaled = values / largest
    return np.asarray(scaled / math.sqrt(scaled.dot(scaled)), dtype=np.float64)


def unit_vectors(
    vectors: Sequence[Sequence[float]], count: int, dimension: int
) -> npt.NDArray[np.float64]:
    """Scale vectors to length 1.

    Args:
        vectors: What ``unit_vector`` takes, one for each hint or query.
        count: How many there have to be.
        dimension: The length each has to have.

    Returns:
        The directions, shape ``[count, dimension]``.

    Raises:
        ValueError: If there are more or fewer, or one of them has no direction.
    """
    if len(vectors) != count:
        raise ValueError(f"{count} hints have {count} vectors, not {len(vectors)}")
    directions = np.empty((count, dimension), dtype=np.float64)
    for row, vector in enumerate(vectors):
        directions[row] = unit_vector(vector, dimension)
    return directions


def rounded_similarity(similarity: float) -> float:
    """A similarity as it is compared and reported: rounded, within [-1, 1]."""
    return min(1.0, max(-1.0, round(similarity * _STEPS) / _STEPS))


def rounded_similarities(similarities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``rounded_similarity`` of each number, to the last bit."""
    rounded: npt.NDArray[np.float64] = np.clip(np.rint(similarities * _STEPS) / _STEPS, -1.0, 1.0)
    return rounded


def nearest_first(
    found: Iterable[tuple[float, str, _Found]], limit: int
) -> list[tuple[float, _Found]]:
    """Order search results.

    Args:
        found: Similarity and id of each hint found, and whatever stands for it, in any order;
            every hint that is as similar as the last one to be returned is among them.
        limit: How many to return at most.

    Returns:
        Rounded similarities with what stands for the hints: the most similar first, equal
        similarities in order of id.
    """
    ordered = sorted(
        ((-rounded_similarity(similarity), hint_id, each) for similarity, hint_id, each in found),
        key=itemgetter(0, 1),
    )
    return [(-similarity, each) for similarity, _, each in ordered[:limit]]


def check_limit(limit: int) -> None:
    """Refuse a search for less than one hint.

    Raises:
        ValueError: If ``limit`` is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}")
