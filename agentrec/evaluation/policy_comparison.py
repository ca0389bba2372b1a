"""Several hint policies on the same sessions, each trained with one seed or with several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.evaluation.intervals import Interval, bootstrap_intervals

_Floats = npt.NDArray[np.floating]
_Doubles = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]

_NO_HINT = "no_hint"
_BEST_SINGLE = "best_single"


class ComparedPolicy(BaseModel):
    """One policy among others.

    The intervals say how much other sessions would change the numbers, for the policies that were
    trained here. How much another training would change them is ``seed_spread``.

    Attributes:
        name: The policy.
        ndcg: Mean NDCG@10 over sessions, 0 to 1, each session's value being the mean over seeds.
        over_no_hint: Paired mean difference to no hint, -1 to 1; above 0 is better.
        over_best_single: The same to the best single hint; ``None`` for that itself, and where
            it is not among the policies.
        seeds: How many seeds, or whole runs, its values are the mean of.
        seed_means: Mean gain over no hint of each seed. Where the policy has one seed and no
            hint has several, the one gain over their mean.
        seed_spread: Standard deviation of ``seed_means`` over seeds, with ``seeds - 1`` degrees
            of freedom; ``None`` for a single seed.
        given: Share of sessions that got a hint, over all seeds, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    name: str
    ndcg: Interval
    over_no_hint: Interval
    over_best_single: Interval | None
    seeds: int = Field(ge=1)
    seed_means: tuple[float, ...]
    seed_spread: float | None
    given: float = Field(ge=0, le=1)


class PolicyComparison(BaseModel):
    """Several policies; ``model_dump_json`` gives the file.

    Attributes:
        sessions: How many every number is over, at least 1.
        level: Level of each interval by itself: of policies that do not differ, a share of
            ``1 - level`` excludes 0.
        seed: Seed of the bootstrap.
        policies: In the order given.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    sessions: int = Field(ge=1)
    level: float
    seed: int
    policies: tuple[ComparedPolicy, ...]


def compare_policies(
    ndcg: Mapping[str, _Floats],
    given: Mapping[str, _Bools],
    *,
    seed: int,
    resamples: int = 2_000,
    level: float = 0.95,
) -> PolicyComparison:
    """Compare policies session by session with ``no_hint``, and with ``best_single`` if present.

    Only sessions are drawn with replacement, the same draws for all numbers. A seed is one
    training, or one whole run. Two policies are paired seed by seed where they have equally many;
    one with a single seed, as what is not random has, is paired with every seed of the other.

    Args:
        ndcg: By policy, NDCG@10 of each session, 0 to 1, ``[seeds, sessions]``; the same sessions
            in the same order for all.
        given: By policy, in which of these a hint was given, ``[seeds, sessions]``.
        seed: Seed of the bootstrap.
        resamples: See ``bootstrap_intervals``.
        level: See ``bootstrap_intervals``.

    Raises:
        ValueError: If ``no_hint`` is missing or gives a hint, a shape or value is not as above,
            two that are compared have different numbers of seeds, both above 1, or an option of
            the bootstrap is out of range.
    """
    _check(ndcg, given)
    values = {name: np.asarray(own, dtype=np.float64) for name, own in ndcg.items()}
    columns: list[_Doubles] = []
    per_seed: dict[str, _Doubles] = {}
    for name, own in values.items():
        gains = _differences(name, _NO_HINT, values)
        # A single seed has one gain, however many seeds no hint has: their spread is not the
        # policy's.
        means = gains.mean(axis=1)
        per_seed[name] = means if len(own) > 1 else means.mean(keepdims=True)
        columns += [own.mean(axis=0), gains.mean(axis=0)]
    others = [name for name in values if _BEST_SINGLE in values and name != _BEST_SINGLE]
    columns += [_differences(name, _BEST_SINGLE, values).mean(axis=0) for name in others]
    intervals = iter(
        bootstrap_intervals(np.stack(columns, axis=1), seed=seed, resamples=resamples, level=level)
    )
    levels = {name: (next(intervals), next(intervals)) for name in values}
    over_best_single = dict(zip(others, intervals, strict=True))
    return PolicyComparison(
        sessions=len(columns[0]),
        level=level,
        seed=seed,
        policies=tuple(
            ComparedPolicy(
                name=name,
                ndcg=levels[name][0],
                over_no_hint=levels[name][1],
                over_best_single=over_best_single.get(name),
                seeds=len(means),
                seed_means=tuple(means.tolist()),
                seed_spread=float(means.std(ddof=1)) if len(means) > 1 else None,
                given=float(np.mean(given[name])),
            )
            for name, means in per_seed.items()
        ),
    )


def _check(ndcg: Mapping[str, _Floats], given: Mapping[str, _Bools]) -> None:
    if _NO_HINT not in ndcg:
        raise ValueError(f"{_NO_HINT!r} is not among the policies: {', '.join(ndcg) or 'none'}")
    if odd := sorted(set(ndcg) ^ set(given)):
        raise ValueError(f"NDCG and given hints are not of the same policies: {', '.join(odd)}")
    for name, values in ndcg.items():
        shape, hints = values.shape, given[name]
        if len(shape) != 2 or not all(shape):
            raise ValueError(f"{name!r} has shape {list(shape)}, not [seeds, sessions]")
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError(f"{name!r} has an NDCG that is not a number from 0 to 1")
        if hints.shape != shape or hints.dtype != np.bool_:
            raise ValueError(
                f"given hints of {name!r} are {hints.dtype} of shape {list(hints.shape)}, not "
                f"bool of {list(shape)}"
            )
    if len({values.shape[1] for values in ndcg.values()}) > 1:
        counts = {name: values.shape[1] for name, values in ndcg.items()}
        raise ValueError(f"all policies need values for the same sessions, not {counts}")
    if bool(given[_NO_HINT].any()):
        raise ValueError(f"{_NO_HINT!r} gives hints")


def _differences(first: str, second: str, values: Mapping[str, _Doubles]) -> _Doubles:
    """``first - second``, seed by seed and session by session, ``[seeds, sessions]``."""
    own, other = values[first], values[second]
    if len({len(own), len(other)} - {1}) > 1:
        raise ValueError(
            f"{first!r} has {len(own)} seeds and {second!r} has {len(other)}: they pair "
            "where both have equally many, or one of them has 1"
        )
    # The difference before the mean: equal values differ by 0, not by a rounding error.
    differences: _Doubles = own - other
    return differences
