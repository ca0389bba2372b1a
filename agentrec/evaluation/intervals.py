"""How certain a mean over sessions is: percentile bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

_DRAWS_AT_ONCE = 2_000_000


class Interval(BaseModel):
    """A mean with its bootstrap interval; ``low`` and ``high`` are percentiles of the means."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    mean: float
    low: float
    high: float


def bootstrap_intervals(
    columns: npt.NDArray[np.float64],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> list[Interval]:
    """Intervals of the means of several quantities that were measured on the same sessions.

    Sessions are drawn with replacement as often as there are sessions; each draw gives one mean
    per column, the same draw for all columns. For the difference of two methods, pass the
    differences session by session: sessions differ far more than methods do on one session.
    Memory stays below about 50 MB for any number of sessions and resamples.

    Args:
        columns: One value per session and quantity, shape ``[sessions, quantities]``, finite. One
            session, or equal values, give an interval of width 0, which says nothing about other
            sessions.
        seed: The same seed and values give the same intervals.
        resamples: Draws, at least 1. Fewer make the ends of the interval noisy.
        level: Share of the draws inside the interval, between 0 and 1.

    Returns:
        One interval per quantity, in order.

    Raises:
        ValueError: If there is no session, a value is not finite, or an option is out of range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if columns.ndim != 2 or not columns.shape[0]:
        raise ValueError(f"needs at least one session, shape [sessions, n], not {columns.shape}")
    if not np.isfinite(columns).all():
        raise ValueError("every session needs a finite value")
    if resamples < 1:
        raise ValueError(f"resamples is at least 1, not {resamples}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level lies between 0 and 1, not {level}")
    sessions = columns.shape[0]
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, columns.shape[1]))
    rows_at_once = max(1, _DRAWS_AT_ONCE // sessions)
    for start in range(0, resamples, rows_at_once):
        rows = min(rows_at_once, resamples - start)
        draws = rng.integers(0, sessions, size=(rows, sessions))
        # How often each session was drawn turns all the means into one matrix product.
        draws += np.arange(rows)[:, None] * sessions
        times_drawn = np.bincount(draws.ravel(), minlength=rows * sessions)
        weights = times_drawn.reshape(rows, sessions).astype(np.float64)
        means[start : start + rows] = weights @ columns / sessions
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(means, [tail, 100.0 - tail], axis=0)
    return [
        Interval(mean=float(mean), low=float(below), high=float(above))
        for mean, below, above in zip(columns.mean(axis=0), low, high, strict=True)
    ]


def bootstrap_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Interval of the mean of one value per session; see ``bootstrap_intervals``."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    return bootstrap_intervals(column, seed=seed, resamples=resamples, level=level)[0]
