"""Whether a target is found more often because of where it stood among the candidates.

A fair ranker finds it as often in the last places as in the first. A language model that reads a
list need not: the published answers of Re2LLM's base model hit 47 % of the targets in places 1-20
and 29 % of those in places 31-50.

Source: Re2LLM (arXiv 2403.16427). Differs: the paper does not control for the place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from agentrec.catalog import Catalog
from agentrec.evaluation.metrics import CUTOFF
from agentrec.llm.prompts.session_view import MAX_CANDIDATES, SessionView
from agentrec.rankings import Ranking
from agentrec.sessions import Session

CandidateOrder = Callable[[Session], Sequence[str]]

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

    def lines(self) -> list[str]:
        """The report for a person, one range a line."""
        told = [
            f"target in places {each.first}-{each.last}: "
            + (
                "there was none"
                if each.hit_rate is None
                else f"{each.hit_rate:.1%} of {each.sessions} found"
            )
            for each in self.bins
        ]
        z = "not defined" if self.z is None else f"{self.z:+.2f}"
        return [*told, f"first against last range: z {z} (beyond 2 in size is hardly chance)"]


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


def stored_order(session: Session) -> Sequence[str]:
    """Candidates in the order in which the session has them."""
    return session.candidates


def shown_order(
    catalog: Catalog,
    seed: int = 0,
    *,
    max_candidates: int = MAX_CANDIDATES,
    ordered: bool = False,
) -> CandidateOrder:
    """The order in which our own prompts show candidates at the first attempt.

    Args:
        catalog: The items.
        seed: The seed that the prompts were made with, and so on; see ``SessionView.of``.
        max_candidates: Most candidates that were shown.
        ordered: Whether the sessions' candidates come best first.
    """
    return lambda session: (
        SessionView.of(
            session, catalog, seed, max_candidates=max_candidates, ordered=ordered
        ).candidate_ids
    )


def position_bias_of(
    sessions: Sequence[Session],
    rankings: Iterable[Ranking],
    order: CandidateOrder,
    bins: Sequence[tuple[int, int]] | None = None,
) -> PositionBias:
    """Compare hit rates by the place at which targets were shown.

    Fused rankings saw the target in several places; the place of the first order is what counts
    for them, and a bias against it should be about as small as the luck of the other orders.

    Args:
        sessions: Sessions with targets.
        rankings: One for each session, in any order; sessions without one, and those whose target
            was not shown, are left out.
        order: Gives the candidates of a session as they were shown: ``shown_order(...)`` for our
            own prompts, ``stored_order`` for answers from elsewhere.
        bins: As for ``measure_position_bias``; three ranges of about equal length if not given.

    Raises:
        ValueError: If a session has no target, or the bins are not as they should be.
    """
    made = {ranking.session_id: ranking for ranking in rankings}
    places: list[int] = []
    hits: list[bool] = []
    longest = 0
    for session in sessions:
        if session.target is None:
            raise ValueError(f"session {session.session_id!r} has no target")
        ranking = made.get(session.session_id)
        shown = () if ranking is None else order(session)
        longest = max(longest, len(shown))
        if ranking is not None and session.target in shown:
            places.append(list(shown).index(session.target) + 1)
            hits.append(session.target in ranking.item_ids[:CUTOFF])
    return measure_position_bias(places, hits, thirds(longest) if bins is None else bins)


def thirds(places: int) -> list[tuple[int, int]]:
    """Three ranges of about equal length that cover so many places.

    >>> thirds(20)
    [(1, 7), (8, 13), (14, 20)]
    """
    if places < 3:
        return [(1, max(1, places))]
    first, second = round(places / 3), round(2 * places / 3)
    return [(1, first), (first + 1, second), (second + 1, places)]


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
