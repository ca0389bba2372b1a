"""Whether a target is found more often because of where it stood among the candidates.

A fair ranker finds it as often in the last places as in the first. A language model that reads a
list need not: the published answers of Re2LLM's base model hit 47 % of the targets in places 1-20
and 30 % of those in places 31-50.

Source: Re2LLM (arXiv 2403.16427). Differs: the paper does not control for the place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from agentrec.sessions import Session

DEFAULT_BINS: tuple[tuple[int, int], ...] = ((1, 20), (21, 30), (31, 50))


class PlaceBin(BaseModel):
    """Targets that stood in a range of places.

    Attributes:
        first: First place of the range, 1-based.
        last: Last place of the range, inclusive.
        sessions: How many targets stood there.
        hits: How many of them were found.
    """

    model_config = ConfigDict(frozen=True)

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    sessions: int = Field(ge=0)
    hits: int = Field(ge=0)

    @property
    def hit_rate(self) -> float | None:
        """Share that was found, 0 to 1; ``None`` where no target stood."""
        return self.hits / self.sessions if self.sessions else None


class PositionBias(BaseModel):
    """Hits by place, and how far the first and the last range lie apart.

    Attributes:
        bins: The ranges of places, in order.
        z: Standard errors by which the first range's hit rate exceeds the last one's. Beyond
            about 2 in size it is hardly chance. ``None`` where it is not defined: a range is
            empty, or all or none were found.
    """

    model_config = ConfigDict(frozen=True)

    bins: tuple[PlaceBin, ...]
    z: float | None


def target_place(session: Session) -> int:
    """1-based place of the target among the candidates.

    Raises:
        ValueError: If the session has no target or no candidates.
    """
    if session.target is None or not session.candidates:
        raise ValueError(f"session {session.session_id!r} has no target or no candidates")
    return session.candidates.index(session.target) + 1


def measure_position_bias(
    places: Sequence[int],
    hits: Sequence[bool],
    bins: Sequence[tuple[int, int]] = DEFAULT_BINS,
) -> PositionBias:
    """Compare hit rates by place.

    Args:
        places: 1-based place of the target in each session; places outside all bins are left out.
        hits: Whether each session's target was found, in the same order.
        bins: First and last place of each range, both inclusive; in order, without overlap.

    Raises:
        ValueError: If lengths differ, or the bins are none, empty, out of order or overlap.
    """
    if len(places) != len(hits):
        raise ValueError(f"one hit a place: {len(hits)} and {len(places)} differ")
    ends = [0, *(place for each in bins for place in each)]
    in_order = all(first <= last for first, last in bins) and all(
        before < first for before, first in zip(ends[::2], ends[1::2], strict=False)
    )
    if not bins or not in_order:
        raise ValueError(f"bins are ranges of places from 1 on, in order, apart; not {bins}")
    counted = []
    for first, last in bins:
        found = [hit for place, hit in zip(places, hits, strict=True) if first <= place <= last]
        counted.append(PlaceBin(first=first, last=last, sessions=len(found), hits=sum(found)))
    return PositionBias(bins=tuple(counted), z=two_proportion_z(counted[0], counted[-1]))


def two_proportion_z(first: PlaceBin, second: PlaceBin) -> float | None:
    """Two-proportion z value with pooled variance.

    ``z = (p1 - p2) / sqrt(p (1 - p) (1/n1 + 1/n2))``, ``p`` the share found in both together.

    Returns:
        Positive where ``first`` has the higher hit rate; ``None`` where it is not defined.
    """
    if first.hit_rate is None or second.hit_rate is None:
        return None
    pooled = (first.hits + second.hits) / (first.sessions + second.sessions)
    variance = pooled * (1.0 - pooled) * (1.0 / first.sessions + 1.0 / second.sessions)
    if variance == 0.0:
        return None
    return (first.hit_rate - second.hit_rate) / math.sqrt(variance)
