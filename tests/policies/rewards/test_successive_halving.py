from collections import Counter
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.rewards.successive_halving import (
    HalvingRound,
    SuccessiveHalving,
    predicted_gains,
)
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards, pure_noise_rewards


def measured_by(
    halving: SuccessiveHalving, world: PlantedRewards
) -> tuple[RewardTable, list[HalvingRound]]:
    """What a plan would have measured of a world."""
    ndcg = np.full_like(world.ndcg, np.nan)
    ndcg[:, 0] = world.ndcg[:, 0]
    rounds: list[HalvingRound] = []
    following: HalvingRound | None = halving.first_round(len(ndcg), len(world.hints))
    while following is not None:
        rounds.append(following)
        for cell in following.cells:
            assert np.isnan(ndcg[cell]), "a cell is measured twice"
            ndcg[cell] = world.ndcg[cell]
        table = RewardTable(world.session_ids, world.hint_ids, ndcg)
        following = halving.next_round(following, world.states, table)
    return table, rounds


def share_with_best(measured: npt.NDArray[np.bool_], world: PlantedRewards) -> float:
    """Share of the sessions whose best hint was measured."""
    best = world.expected_ndcg[:, 1:].argmax(axis=1)
    return float(measured[np.arange(len(measured)), 1 + best].mean())


def at_random(world: PlantedRewards, count: int) -> npt.NDArray[np.bool_]:
    """As many hints a session, drawn without looking."""
    drawn = np.random.default_rng(0).random((len(world.states), len(world.hints)))
    chosen = drawn.argsort(axis=1).argsort(axis=1) < count
    return np.concatenate([np.ones((len(chosen), 1), dtype=bool), chosen], axis=1)


def test_five_hundred_sessions_and_twenty_hints_take_five_thousand_calls() -> None:
    world = planted_rewards(500, 20, 24, signal=1.0, noise=1.0, seed=0)
    table, rounds = measured_by(SuccessiveHalving(), world)
    assert table.measured.sum() == 5000
    assert [len(one.cells) for one in rounds] == [2000, 1500, 1000]
    assert set(table.measured.sum(axis=1)) == {SuccessiveHalving().calls_per_row(20)} == {10}
    assert [one.survivors.sum(axis=1).tolist() for one in rounds] == [
        [20] * 500,
        [8] * 500,
        [3] * 500,
    ]


@pytest.mark.parametrize(
    ("num_rows", "num_hints"), [(500, 20), (500, 7), (37, 20), (3, 50), (1, 5), (100, 4), (50, 5)]
)
def test_the_first_round_tries_all_hints_equally_often(num_rows: int, num_hints: int) -> None:
    cells = SuccessiveHalving().first_round(num_rows, num_hints).cells
    assert len(set(cells)) == len(cells)
    assert Counter(row for row, _ in cells) == dict.fromkeys(range(num_rows), min(4, num_hints))
    tried = Counter(hint for _, hint in cells)
    counts = [tried[1 + hint] for hint in range(num_hints)]
    assert max(counts) - min(counts) <= 1


def test_a_hint_is_tried_beside_all_others() -> None:
    cells = SuccessiveHalving().first_round(500, 20).cells
    hands = [[hint for row, hint in cells if row == wanted] for wanted in range(500)]
    pairs = Counter(pair for hand in hands for pair in combinations(hand, 2))
    assert len(pairs) == 20 * 19 / 2
    # 15.8 on average; were the pairs drawn one by one, one in 10,000 would be outside.
    assert 2 < min(pairs.values()) <= max(pairs.values()) < 34


@pytest.mark.parametrize("num_hints", range(12))
def test_few_hints_are_all_measured_and_never_more_than_planned(num_hints: int) -> None:
    halving = SuccessiveHalving()
    world = planted_rewards(30, num_hints, 6, signal=1.0, noise=1.0, seed=1)
    table, _ = measured_by(halving, world)
    assert set(table.measured.sum(axis=1)) == {1 + min(9, num_hints)}
    assert halving.calls_per_row(num_hints) == 1 + min(9, num_hints)


def test_no_sessions_need_no_plan() -> None:
    world = planted_rewards(3, 5, 6, signal=1.0, noise=1.0, seed=1).between(0, 0)
    table, rounds = measured_by(SuccessiveHalving(), world)
    assert len(table) == sum(len(one.cells) for one in rounds) == 0


def test_the_same_seed_is_the_same_plan() -> None:
    world = planted_rewards(200, 20, 24, signal=1.0, noise=1.0, seed=2)
    plans = [
        [one.cells for one in measured_by(SuccessiveHalving(seed=seed), world)[1]]
        for seed in (5, 5, 6)
    ]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


@pytest.mark.parametrize(("noise", "least"), [(1.0, 0.85), (0.5, 0.92)])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_hint_of_a_session_is_among_what_is_measured(
    noise: float, least: float, seed: int
) -> None:
    world = planted_rewards(500, 20, 24, signal=1.0, noise=noise, seed=seed)
    table, _ = measured_by(SuccessiveHalving(), world)
    assert share_with_best(at_random(world, 9), world) < 0.52
    assert share_with_best(table.measured, world) > least


def test_a_plan_finds_nothing_where_there_is_nothing() -> None:
    noise = pure_noise_rewards(500, 20, 24, seed=3)
    signal = planted_rewards(500, 20, 24, signal=1.0, noise=1.0, seed=3)
    table, _ = measured_by(SuccessiveHalving(), noise)
    assert 0.35 < share_with_best(table.measured, signal) < 0.55


def test_a_cell_is_chosen_by_others_and_not_by_its_own_luck() -> None:
    world = pure_noise_rewards(500, 20, 24, seed=4)
    table, _ = measured_by(SuccessiveHalving(), world)
    assert abs(float(np.nanmean(table.ndcg[:, 1:])) - float(world.ndcg[:, 1:].mean())) < 0.02


def test_states_decide_and_not_only_how_hints_do_on_the_whole() -> None:
    world = planted_rewards(500, 20, 24, signal=1.0, noise=0.5, seed=0)
    shuffled = np.random.default_rng(0).permutation(world.states)
    blind = PlantedRewards(
        shuffled, world.session_ids, world.hints, world.vectors, world.ndcg, world.expected_ndcg
    )
    sees, guesses = (measured_by(SuccessiveHalving(), one)[0] for one in (world, blind))
    assert share_with_best(sees.measured, world) > share_with_best(guesses.measured, world) + 0.25


def test_what_does_not_fit_is_refused() -> None:
    for rounds in ((), (4, 0), (-1,)):
        with pytest.raises(ValueError, match="at least 1 hint"):
            SuccessiveHalving(rounds)
    first = SuccessiveHalving().first_round(2, 1)
    table = RewardTable(("s",), ("a",), np.array([[0, 1]], dtype=np.float32))
    with pytest.raises(ValueError, match="do not fit a table of 1 rows and 1 hints"):
        SuccessiveHalving().next_round(first, np.zeros((2, 3), np.float32), table)


def test_predictions_follow_a_planted_line() -> None:
    generator = np.random.default_rng(0)
    states = generator.standard_normal((400, 3)).astype(np.float32)
    truth = np.stack([0.1 * states[:, 0], -0.1 * states[:, 1], np.full(400, 0.05)], axis=1)
    gains = truth.astype(np.float32)
    gains[generator.random(gains.shape) < 0.5] = np.nan
    predicted = predicted_gains(states, gains)
    agree = predicted.argmax(axis=1) == truth.argmax(axis=1)
    assert agree.mean() > 0.9


def test_a_hint_nobody_tried_is_taken_for_an_average_one() -> None:
    states = np.ones((4, 2), np.float32)
    gains = np.array([[0.4, np.nan, 0.2]] * 4, dtype=np.float32)
    predicted = predicted_gains(states, gains)
    assert np.isfinite(predicted).all()
    assert predicted[0, 1] == pytest.approx(0.3)
    assert predicted[0, 0] > predicted[0, 1] > predicted[0, 2]


def test_of_noise_little_is_believed() -> None:
    generator = np.random.default_rng(0)
    states = generator.standard_normal((300, 8)).astype(np.float32)
    gains = generator.uniform(-1, 1, (300, 10)).astype(np.float32)
    gains[generator.random(gains.shape) < 0.8] = np.nan
    # About 60 cells a hint and 8 directions: plain least squares would fit a third of the noise.
    assert predicted_gains(states, gains).std(axis=0).max() < 0.1
