import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrec.evaluation.intervals import bootstrap_interval, bootstrap_intervals


def test_two_sessions_computed_by_hand() -> None:
    # Of the four equally likely draws the means are 0, 1/2, 1/2, 1: the middle half is [0.5, 0.5]
    # up to a quarter on each side, so a level below 1/2 is a point and one above reaches the ends.
    narrow = bootstrap_interval([0.0, 1.0], seed=1, level=0.4)
    assert (narrow.mean, narrow.low, narrow.high) == (0.5, 0.5, 0.5)
    wide = bootstrap_interval([0.0, 1.0], seed=1, level=0.6)
    assert (wide.mean, wide.low, wide.high) == (0.5, 0.0, 1.0)


def test_three_sessions_against_all_27_draws() -> None:
    values = np.array([0.0, 1.0, 5.0])
    means = [np.mean(draw) for draw in itertools.product(values, repeat=3)]
    found = bootstrap_interval(values, seed=3, resamples=50_000, level=0.8)
    # The exact 10 % and 90 % points of the 27 means, which no steps lie close to.
    assert found.low == pytest.approx(np.quantile(means, 0.1, method="inverted_cdf"))
    assert found.high == pytest.approx(np.quantile(means, 0.9, method="inverted_cdf"))


def test_width_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = bootstrap_interval(values, seed=0)
    error = values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_95_of_100_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(400):
        hits = (rng.random(80) < 0.4).astype(float)
        found = bootstrap_interval(hits, seed=trial, resamples=400)
        covered += found.low <= 0.4 <= found.high
    # Standard error of the share is 1.1 %; the percentile interval covers slightly too rarely.
    assert 0.91 <= covered / 400 <= 0.98


def test_no_difference_is_found_in_5_of_100_trials() -> None:
    rng = np.random.default_rng(4)
    found = 0
    for trial in range(400):
        gain = bootstrap_interval(rng.random(60) - rng.random(60), seed=trial, resamples=400)
        found += not gain.low <= 0.0 <= gain.high
    assert 0.02 <= found / 400 <= 0.09


def test_what_cannot_be_resampled_is_refused() -> None:
    for values, message in (
        ([], "at least one session"),
        ([1.0, float("nan")], "finite"),
        ([float("inf")], "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            bootstrap_interval(values, seed=0)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_interval([1.0], seed=0, resamples=0)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="level"):
            bootstrap_interval([1.0], seed=0, level=level)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(1).random(50)
    assert bootstrap_interval(values, seed=7) == bootstrap_interval(values, seed=7)
    assert bootstrap_interval(values, seed=7) != bootstrap_interval(values, seed=8)


@settings(max_examples=40)
@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=20),
    st.floats(-5, 5, allow_subnormal=False),
)
def test_shifting_the_values_shifts_the_interval(values: list[float], shift: float) -> None:
    before = bootstrap_interval(values, seed=0, resamples=200)
    after = bootstrap_interval([value + shift for value in values], seed=0, resamples=200)
    assert min(values) - 1e-9 <= before.low <= before.high <= max(values) + 1e-9
    assert (after.mean, after.low, after.high) == pytest.approx(
        (before.mean + shift, before.low + shift, before.high + shift), abs=1e-9
    )


def test_memory_stays_bounded_at_full_size() -> None:
    columns = np.random.default_rng(0).random((1_500, 3))
    tracemalloc.start()
    found = bootstrap_intervals(columns, seed=0, resamples=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.mean for each in found] == pytest.approx(columns.mean(axis=0).tolist())
    assert peak < 100e6  # 1,500 x 10,000 draws at once would take 120 MB a copy
