"""Counted durations: quantiles are near the true ones, and counts can be added."""

from __future__ import annotations

import numpy as np
import pytest

from agentrec.batch.progress import Latencies, LatencyCounter


def counted(seconds: list[float]) -> Latencies:
    counter = LatencyCounter()
    for one in seconds:
        counter.add(one)
    return counter.latencies()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_right_to_a_hundredth(share: float) -> None:
    seconds = np.random.default_rng(0).lognormal(0.0, 2.0, 5000).tolist()
    true = float(np.quantile(seconds, share, method="inverted_cdf"))
    assert counted(seconds).quantile(share) == pytest.approx(true, rel=0.011)


def test_counts_of_two_are_those_of_both() -> None:
    one, other = [0.1, 0.2, 3.0], [0.2, 50.0, 0.0]
    assert counted(one) + counted(other) == counted(one + other)
    assert Latencies.model_validate_json(counted(one).model_dump_json()) == counted(one)


def test_of_nothing_is_nothing() -> None:
    assert Latencies().quantile(0.5) == 0.0
    assert (Latencies() + Latencies()).quantile(0.9) == 0.0
