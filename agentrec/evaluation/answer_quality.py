"""How well answers kept to the instructions, and whether the position of a candidate mattered.

A fair ranker finds a target as often at the last positions as at the first. A language model that
reads a list may not: the published answers of Re2LLM's base model hit 47 % of the targets at
positions 1-20 and 29 % of those at positions 31-50.

Source: Re2LLM (arXiv 2403.16427). Differs: the paper does not control for the position.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agentrec.atomic_files import write_atomically
from agentrec.catalog import Catalog
from agentrec.components import Components
from agentrec.errors import ModelCallError
from agentrec.evaluation.metrics import CUTOFF
from agentrec.llm.prompts.session_view import MAX_CANDIDATES, SessionView
from agentrec.rankings import Ranking
from agentrec.sessions import Session

CandidateOrder = Callable[[Session], Sequence[str]]
"""Gives the candidates of a session in the order in which they were shown."""


class AnswerQuality(BaseModel):
    """Counts over rankings.

    Attributes:
        rankings: How many there are.
        failed: Requests without a ranking, by kind of failure; not included in ``rankings``.
        clean: Rankings of answers with nothing illegal, repaired or filled up.
        structured: Rankings read from JSON.
        repaired: Rankings for which the model had to be asked a second time.
        backfilled: Rankings with an item that the model did not name.
        backfilled_items: How many such items there are in all.
        illegal_answers: Rankings of answers with an illegal line.
        illegal: How many lines of answers named no candidate, or one twice.
        notes: How many rankings carry each note.
    """

    model_config = ConfigDict(frozen=True)

    rankings: int = Field(ge=0)
    failed: Mapping[str, int]
    clean: int = Field(ge=0)
    structured: int = Field(ge=0)
    repaired: int = Field(ge=0)
    backfilled: int = Field(ge=0)
    backfilled_items: int = Field(ge=0)
    illegal_answers: int = Field(ge=0)
    illegal: int = Field(ge=0)
    notes: Mapping[str, int]

    def share(self, count: int) -> float | None:
        """One of the counts as a share of all rankings; ``None`` where there are none."""
        return count / self.rankings if self.rankings else None


def measure_answer_quality(
    rankings: Iterable[Ranking], failures: Iterable[ModelCallError] = ()
) -> AnswerQuality:
    """Count over rankings, and over the failures of requests without one."""
    made = list(rankings)
    notes = Counter(note for ranking in made for note in ranking.notes)
    failed = Counter(failure.kind for failure in failures)
    return AnswerQuality(
        rankings=len(made),
        failed=dict(sorted(failed.items())),
        clean=sum(not (each.illegal or each.repaired or each.backfilled) for each in made),
        structured=sum(each.structured for each in made),
        repaired=sum(each.repaired for each in made),
        backfilled=sum(each.backfilled > 0 for each in made),
        backfilled_items=sum(each.backfilled for each in made),
        illegal_answers=sum(each.illegal > 0 for each in made),
        illegal=sum(each.illegal for each in made),
        notes=dict(sorted(notes.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


class PositionBin(BaseModel):
    """Targets that were shown in a range of positions.

    Attributes:
        first: First position of the range, 1-based.
        last: Last position of the range, inclusive.
        sessions: How many targets were shown there.
        hits: How many of them were found.
    """

    model_config = ConfigDict(frozen=True)

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    sessions: int = Field(ge=0)
    hits: int = Field(ge=0)

    @property
    def hit_rate(self) -> float | None:
        """Share of targets found, 0 to 1; ``None`` without a target."""
        return self.hits / self.sessions if self.sessions else None


class PositionBias(BaseModel):
    """Hits by position.

    Attributes:
        bins: The ranges of positions, in order.
        z: Standard errors by which the first range's hit rate exceeds the last one's. Beyond
            about 2 in size it is unlikely to be chance. ``None`` where it is not defined: a range
            is empty, or all or none were found.
    """

    model_config = ConfigDict(frozen=True)

    bins: tuple[PositionBin, ...]
    z: float | None

    def lines(self) -> list[str]:
        """Return the report for people, one line per range."""
        ranges = [
            f"target at positions {each.first}-{each.last}: "
            + (f"{each.hit_rate:.1%} of {each.sessions} found" if each.sessions else "none")
            for each in self.bins
        ]
        z = "not defined" if self.z is None else f"{self.z:+.2f}"
        return [*ranges, f"first against last range: z {z} (beyond 2 in size, chance is unlikely)"]


def position_bias_of(
    sessions: Sequence[Session], rankings: Iterable[Ranking], order: CandidateOrder
) -> PositionBias:
    """Compare hit rates by the position at which targets were shown, in three ranges.

    The target of a fused ranking was shown at several positions; the one in the first order
    counts, and a bias against it should be about as small as the luck of the other orders.

    Sessions without a ranking, and those whose target was not shown, are left out.

    Raises:
        ValueError: If a session has no target.
    """
    made = {ranking.session_id: ranking for ranking in rankings}
    found: list[tuple[int, bool]] = []
    longest = 0
    for session in sessions:
        if session.target is None:
            raise ValueError(f"session {session.session_id!r} has no target")
        ranking = made.get(session.session_id)
        shown = [] if ranking is None else list(order(session))
        longest = max(longest, len(shown))
        if ranking is not None and session.target in shown:
            hit = session.target in ranking.item_ids[:CUTOFF]
            found.append((shown.index(session.target) + 1, hit))
    bins = []
    for first, last in thirds(longest):
        hits = [hit for position, hit in found if first <= position <= last]
        bins.append(PositionBin(first=first, last=last, sessions=len(hits), hits=sum(hits)))
    return PositionBias(bins=tuple(bins), z=two_proportion_z(bins[0], bins[-1]))


def shown_order(
    catalog: Catalog,
    seed: int = 0,
    *,
    max_candidates: int = MAX_CANDIDATES,
    ordered: bool = False,
) -> CandidateOrder:
    """Return the order in which prompts show candidates at the first attempt.

    The arguments are those of ``SessionView.of``.
    """

    def order(session: Session) -> Sequence[str]:
        view = SessionView.of(
            session, catalog, seed, max_candidates=max_candidates, ordered=ordered
        )
        return view.candidate_ids

    return order


def thirds(positions: int) -> list[tuple[int, int]]:
    """Divide so many positions into three ranges of about equal length.

    >>> thirds(20)
    [(1, 7), (8, 13), (14, 20)]
    """
    if positions < 3:
        return [(1, max(1, positions))]
    first, second = round(positions / 3), round(2 * positions / 3)
    return [(1, first), (first + 1, second), (second + 1, positions)]


def two_proportion_z(first: PositionBin, second: PositionBin) -> float | None:
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


class AnswerReport(BaseModel):
    """By name of the method.

    Attributes:
        quality: How many answers were clean, repaired, filled up and so on.
        position_bias: Hits by the position at which the target was shown first.
    """

    model_config = ConfigDict(frozen=True)

    quality: Mapping[str, AnswerQuality]
    position_bias: Mapping[str, PositionBias]

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        write_atomically(file, (self.model_dump_json(indent=2) + "\n").encode())


def report_answers(
    sessions: Sequence[Session],
    rankings: Mapping[str, Sequence[Ranking]],
    components: Components,
) -> AnswerReport:
    """Report on the answers behind the rankings of test sessions, by name of the method."""
    order = shown_order(
        components.catalog,
        components.seed,
        max_candidates=components.max_candidates,
        ordered=components.candidates_ordered,
    )
    return AnswerReport(
        quality={name: measure_answer_quality(made) for name, made in rankings.items()},
        position_bias={
            name: position_bias_of(sessions, made, order) for name, made in rankings.items()
        },
    )
