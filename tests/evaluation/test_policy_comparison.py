import json
from typing import Any

import numpy as np
import pytest

from agentrec.evaluation.intervals import Interval, bootstrap_interval
from agentrec.evaluation.policy_comparison import (
    ComparedPolicy,
    PolicyComparison,
    compare_policies,
)

NO_HINT = np.array([[0.0, 0.5, 1.0, 0.5]])
BEST = np.array([[0.5, 0.5, 1.0, 0.0]])
PPO = np.array([[0.5, 1.0, 1.0, 0.5], [0.0, 0.5, 1.0, 0.5], [1.0, 0.5, 0.5, 0.0]])


def _compared(ndcg: dict[str, np.ndarray], **more: Any) -> dict[str, ComparedPolicy]:
    found = compare_policies(ndcg, _given(ndcg), **{"seed": 1, **more})
    return {one.name: one for one in found.policies}


def _given(ndcg: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: np.full(values.shape, name != "no_hint", dtype=bool) for name, values in ndcg.items()
    }


def test_every_number_by_hand() -> None:
    ndcg = {"no_hint": NO_HINT, "ppo": PPO, "best_single": BEST}
    given = _given(ndcg)
    given["ppo"][:] = [[True, True, False, False], [False] * 4, [True, False, True, True]]
    found = compare_policies(ndcg, given, seed=3, resamples=500, level=0.9)
    assert (found.sessions, found.level, found.seed) == (4, 0.9, 3)
    assert [one.name for one in found.policies] == ["no_hint", "ppo", "best_single"]
    none, ppo, best = found.policies

    def interval(values: list[float]) -> Interval:
        return bootstrap_interval(values, seed=3, resamples=500, level=0.9)

    def alike(first: Interval | None, second: Interval) -> bool:
        assert first is not None
        return list(first.model_dump().values()) == pytest.approx(
            list(second.model_dump().values())
        )

    assert alike(ppo.ndcg, interval([0.5, 2 / 3, 2.5 / 3, 1 / 3]))
    assert alike(ppo.over_no_hint, interval([0.5, 0.5 / 3, -0.5 / 3, -0.5 / 3]))
    assert alike(ppo.over_best_single, interval([0.0, 0.5 / 3, -0.5 / 3, 1 / 3]))
    assert ppo.seeds == 3
    assert ppo.seed_means == pytest.approx((0.25, 0.0, 0.0))
    assert ppo.seed_spread == pytest.approx(0.25 / 3**0.5)
    assert ppo.given == pytest.approx(5 / 12)

    assert best.over_no_hint.mean == 0
    assert best.over_best_single is None
    assert (best.seeds, best.seed_means, best.seed_spread, best.given) == (1, (0.0,), None, 1.0)

    assert none.ndcg.mean == 0.5
    assert none.over_no_hint == Interval(mean=0, low=0, high=0)
    assert alike(none.over_best_single, interval([-0.5, 0.0, 0.0, 0.5]))
    assert (none.seed_spread, none.given) == (None, 0.0)


def test_runs_are_paired_run_by_run() -> None:
    runs = np.array([[0.1, 0.3, 0.2], [0.6, 0.5, 0.9]])
    result = _compared({"no_hint": runs, "ppo": runs + 0.05, "best_single": runs[::-1]})
    assert result["ppo"].seed_means == pytest.approx((0.05, 0.05))
    assert result["ppo"].seed_spread == pytest.approx(0)
    assert result["ppo"].over_no_hint.low == pytest.approx(0.05)
    assert result["ppo"].over_no_hint.high == pytest.approx(0.05)
    level = float((runs[1] - runs[0]).mean())
    assert result["best_single"].seed_means == pytest.approx((level, -level))
    assert set(result["no_hint"].seed_means) == {0}
    assert result["no_hint"].seed_spread == 0


def test_a_single_seed_stands_beside_every_seed() -> None:
    result = _compared({"no_hint": PPO, "fixed": NO_HINT})
    assert result["fixed"].seeds == 1
    assert result["fixed"].seed_means == pytest.approx((float(NO_HINT.mean() - PPO.mean()),))
    assert result["fixed"].seed_spread is None
    per_session = NO_HINT[0] - PPO.mean(axis=0)
    alone = bootstrap_interval(per_session, seed=1, resamples=2_000)
    assert result["fixed"].over_no_hint.low == pytest.approx(alone.low)


def test_what_is_the_same_differs_by_exactly_nothing() -> None:
    values = np.random.default_rng(0).random((1, 50))
    result = _compared({"no_hint": values, "best_single": values, "same": np.repeat(values, 3, 0)})
    nothing = Interval(mean=0, low=0, high=0)
    assert result["same"].over_no_hint == result["same"].over_best_single == nothing
    assert result["same"].seed_spread == 0


def test_planted_differences_are_found_and_noise_is_not() -> None:
    generator = np.random.default_rng(5)
    sessions = generator.uniform(0.2, 0.8, (1, 400))

    def policy(gain: float, seeds: int) -> np.ndarray:
        drawn = sessions + gain + generator.normal(0, 0.05, (seeds, 400))
        return np.clip(drawn, 0, 1)

    result = _compared(
        {
            "no_hint": sessions,
            "best_single": policy(0.03, 1),
            "good": policy(0.06, 3),
            "noise": policy(0.0, 3),
            "bad": policy(-0.03, 2),
        }
    )
    good = result["good"]
    assert good.over_no_hint.low > 0.04
    assert good.over_best_single is not None
    assert good.over_best_single.low > 0.01
    # Sessions differ far more than the policies do: unpaired, nothing would be seen.
    assert good.ndcg.low < result["no_hint"].ndcg.mean + 0.06 < good.ndcg.high
    assert result["noise"].over_no_hint.low < 0 < result["noise"].over_no_hint.high
    assert result["bad"].over_no_hint.high < 0
    assert good.seed_spread is not None
    assert 0 < good.seed_spread < 0.02


def test_the_interval_of_no_difference_holds_0_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        values = np.clip(generator.normal(0.5, 0.1, (2, 60)), 0, 1)
        result = _compared({"no_hint": values[:1], "x": values[1:]}, resamples=300, level=0.9)
        held += result["x"].over_no_hint.low <= 0 <= result["x"].over_no_hint.high
    assert 0.8 < held / 200 < 0.97


def test_same_seed_same_numbers_whatever_else_is_compared() -> None:
    few = _compared({"no_hint": NO_HINT, "ppo": PPO})
    more = _compared({"no_hint": NO_HINT, "other": BEST, "ppo": PPO})
    assert few == _compared({"no_hint": NO_HINT, "ppo": PPO})
    assert few["ppo"] == more["ppo"]
    halves = {name: values.astype(np.float32) for name, values in {"no_hint": NO_HINT}.items()}
    assert _compared(halves)["no_hint"] == few["no_hint"]


def test_it_survives_json() -> None:
    ndcg = {"no_hint": NO_HINT, "ppo": PPO, "best_single": BEST}
    found = compare_policies(ndcg, _given(ndcg), seed=0)
    assert PolicyComparison.model_validate(json.loads(found.model_dump_json())) == found


@pytest.mark.parametrize(
    ("ndcg", "message"),
    [
        ({"ppo": PPO}, "'no_hint' is not among the policies: ppo"),
        ({}, "'no_hint' is not among the policies: none"),
        ({"no_hint": NO_HINT[0]}, r"'no_hint' has shape \[4\], not \[seeds, sessions\]"),
        ({"no_hint": NO_HINT[:, :0]}, r"'no_hint' has shape \[1, 0\]"),
        ({"no_hint": NO_HINT, "ppo": PPO[:0]}, r"'ppo' has shape \[0, 4\]"),
        ({"no_hint": NO_HINT, "ppo": PPO[:, :3]}, "same sessions, not {'no_hint': 4, 'ppo': 3}"),
        ({"no_hint": NO_HINT, "ppo": PPO + 0.1}, "'ppo' has an NDCG that is not a number"),
        ({"no_hint": NO_HINT, "ppo": PPO - 0.1}, "'ppo' has an NDCG that is not a number"),
        ({"no_hint": NO_HINT * np.nan}, "'no_hint' has an NDCG that is not a number"),
        ({"no_hint": PPO, "x": PPO[:2]}, "'x' has 2 seeds and 'no_hint' has 3"),
        (
            {"no_hint": NO_HINT, "best_single": PPO[:2], "x": PPO},
            "'x' has 3 seeds and 'best_single' has 2",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(ndcg: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _compared(ndcg)


def test_given_hints_that_do_not_fit_are_refused() -> None:
    ndcg = {"no_hint": NO_HINT, "ppo": PPO}
    fits = _given(ndcg)
    for given, message in (
        ({"no_hint": fits["no_hint"]}, "not of the same policies: ppo"),
        ({**fits, "x": fits["ppo"]}, "not of the same policies: x"),
        ({**fits, "ppo": fits["ppo"][:1]}, r"'ppo' are bool of shape \[1, 4\]"),
        ({**fits, "ppo": fits["ppo"].astype(float)}, "'ppo' are float64 of shape"),
        ({**fits, "no_hint": ~fits["no_hint"]}, "'no_hint' gives hints"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_policies(ndcg, given, seed=0)
