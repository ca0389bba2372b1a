"""The metrics of a run, as they are written to ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentrec.evaluation.intervals import Interval, bootstrap_intervals
from agentrec.evaluation.metrics import METRICS, MetricName, as_ranks, score_sessions


class MetricsReport(BaseModel):
    """Every method on the same sessions; ``model_dump_json`` gives the file's content.

    Attributes:
        methods: By name of the method and of the metric, the mean with its interval.
        differences: By ``"first - second"`` and name of the metric, the paired mean difference;
            above 0 means that the first is better.
        sessions: How many sessions every number is over.
        llm_calls: Counts of model calls and tokens, by name.
    """

    model_config = ConfigDict(frozen=True)

    methods: Mapping[str, Mapping[MetricName, Interval]]
    differences: Mapping[str, Mapping[MetricName, Interval]]
    sessions: int = Field(ge=1)
    llm_calls: Mapping[str, int | float]

    @model_validator(mode="after")
    def _every_metric(self) -> MetricsReport:
        for name, row in (*self.methods.items(), *self.differences.items()):
            if set(row) != set(METRICS):
                raise ValueError(f"{name!r} has not exactly the metrics {', '.join(METRICS)}")
        return self


def build_report(
    ranks_by_method: Mapping[str, Sequence[int | None]],
    differences: Sequence[tuple[str, str]],
    llm_calls: Mapping[str, int | float],
    seed: int,
    *,
    resamples: int = 10_000,
) -> MetricsReport:
    """Turn ranks into means, intervals and paired differences.

    All numbers come from the same draws of sessions.

    Args:
        ranks_by_method: For each method one rank per session, at least 1, ``None`` where the
            target is not in its list; the same sessions in the same order for all methods.
        differences: Pairs of methods; ``("policy", "no_hint")`` becomes ``"policy - no_hint"``.
        llm_calls: Counts to include.
        seed: Seed of the bootstrap.
        resamples: Draws of the bootstrap, at least 1.

    Raises:
        ValueError: If there is no method or no session, the methods' lengths differ, or a
            difference names an unknown method.
    """
    if len({len(ranks) for ranks in ranks_by_method.values()}) != 1:
        lengths = {name: len(ranks) for name, ranks in ranks_by_method.items()}
        raise ValueError(f"all methods need ranks for the same sessions, not {lengths}")
    scores = {name: score_sessions(as_ranks(ranks)) for name, ranks in ranks_by_method.items()}
    for pair in differences:
        if unknown := set(pair) - set(scores):
            raise ValueError(f"a difference names unknown methods: {', '.join(sorted(unknown))}")
    columns = [row[metric] for row in scores.values() for metric in METRICS]
    columns += [
        scores[first][metric] - scores[second][metric]
        for first, second in differences
        for metric in METRICS
    ]
    intervals = iter(bootstrap_intervals(np.stack(columns, axis=1), seed=seed, resamples=resamples))

    def next_row() -> dict[MetricName, Interval]:
        return {metric: next(intervals) for metric in METRICS}

    return MetricsReport(
        methods={name: next_row() for name in scores},
        differences={f"{first} - {second}": next_row() for first, second in differences},
        sessions=len(columns[0]),
        llm_calls=dict(llm_calls),
    )
