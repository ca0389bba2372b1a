"""What preference texts do to rankings, by the recommender that is told and by a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentrec.evaluation.intervals import Interval, bootstrap_interval, bootstrap_intervals
from agentrec.evaluation.relevant_items import average_precision, ndcg_of_places

Places = Sequence[Sequence[int | None]]
"""Of each session the places of all that is relevant, the target's first."""

NEXT = ("ndcg@10", "map@10")
REST = ("rest ndcg@10", "rest map@10")
TEXT_METRICS = (*NEXT, *REST)


class RankedPlaces(BaseModel):
    """Where a method puts what is relevant.

    Attributes:
        target: The target alone, where the whole history is known.
        rest: All that came after the first part of the history, where that part is known.
    """

    model_config = ConfigDict(frozen=True)

    target: tuple[int | None, ...]
    rest: tuple[tuple[int | None, ...], ...]

    def scores(self) -> dict[str, list[float]]:
        """Every metric of every session."""
        next_one = [[place] for place in self.target]
        columns = (
            [ndcg_of_places(each) for each in next_one],
            [average_precision(each) for each in next_one],
            [ndcg_of_places(each) for each in self.rest],
            [average_precision(each) for each in self.rest],
        )
        return dict(zip(TEXT_METRICS, columns, strict=True))


class TextsReport(BaseModel):
    """Every method on the same sessions; ``texts.json`` of a run folder.

    Attributes:
        methods: By method and metric, the mean with its interval. ``ndcg@10`` and ``map@10`` are
            of the target alone, the item that came next, by texts that were written from the whole
            history; those of the ``rest`` of all that came after the history's first part, by
            texts that were written from that part.
        differences: By ``"first - second"`` and metric, the paired mean difference; above 0 means
            that the first is better.
        sessions: The sessions' ids, in the order of the values.
        values: By method and metric, a value a session, to compare runs by.
        own_preferred: By who wrote, in what share of sessions the reward model prefers the
            session's own text to another session's; ties count half. Chance is 0.5.
        counts: What was asked of language models, and what failed.
    """

    model_config = ConfigDict(frozen=True)

    methods: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Interval]]
    sessions: tuple[str, ...] = Field(min_length=1)
    values: Mapping[str, Mapping[str, Sequence[float]]]
    own_preferred: Mapping[str, Interval]
    counts: Mapping[str, int]


def texts_report(
    sessions: Sequence[str],
    values: Mapping[str, Mapping[str, Sequence[float]]],
    differences: Sequence[tuple[str, str]],
    own_preferred: Mapping[str, Sequence[float]],
    counts: Mapping[str, int],
    seed: int,
) -> TextsReport:
    """Turn values into means, intervals and paired differences, all from the same draws.

    Args:
        sessions: Ids, at least one.
        values: By method and metric, a value a session.
        differences: Pairs of methods.
        own_preferred: By who wrote, 1, 0.5 or 0 a session with texts.
        counts: To carry along.
        seed: Seed of the bootstrap.
    """
    columns = [np.asarray(row[metric]) for row in values.values() for metric in TEXT_METRICS]
    columns += [
        np.asarray(values[first][metric]) - np.asarray(values[second][metric])
        for first, second in differences
        for metric in TEXT_METRICS
    ]
    found = iter(bootstrap_intervals(np.stack(columns, axis=1), seed=seed))

    def row() -> dict[str, Interval]:
        return {metric: next(found) for metric in TEXT_METRICS}

    return TextsReport(
        methods={name: row() for name in values},
        differences={f"{first} - {second}": row() for first, second in differences},
        sessions=tuple(sessions),
        values=values,
        own_preferred={
            name: bootstrap_interval(np.asarray(each), seed=seed)
            for name, each in own_preferred.items()
            if each
        },
        counts=counts,
    )
