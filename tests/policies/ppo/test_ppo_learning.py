"""Learning itself: there where it should be, and not there where nothing is to be learnt."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from agentrec.policies.ppo.categorical_policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import PPOTrainer
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.planted_rewards import (
    PlantedRewards,
    planted_rewards,
    pure_noise_rewards,
)

TableOf = Callable[[PlantedRewards], RewardTable]
TEST_SESSIONS = 3000


def _fit(world: PlantedRewards, table_of: TableOf, *, train: int) -> PPOHintPolicy:
    """Train on the first sessions, choose on the next 200, leave the rest for the test."""
    learn, valid = world.between(0, train), world.between(train, train + 200)
    trainer = PPOTrainer()
    return trainer.fit(learn.states, table_of(learn), 0, valid.states, table_of(valid)).policy


@pytest.fixture(scope="module")
def signal_world() -> PlantedRewards:
    return planted_rewards(1000 + 200 + TEST_SESSIONS, 10, 100, signal=1.0, noise=0.1, seed=11)


@pytest.fixture(scope="module")
def signal_policy(signal_world: PlantedRewards, table_of: TableOf) -> PPOHintPolicy:
    return _fit(signal_world, table_of, train=1000)


def test_on_planted_signal_held_out_sessions_get_95_percent_of_the_optimal_gain(
    signal_world: PlantedRewards, signal_policy: PPOHintPolicy
) -> None:
    test = signal_world.between(1200, 1200 + TEST_SESSIONS)
    chosen = signal_policy.choose(test.states, test.hints)
    gained = test.gains_of([one.hint_id for one in chosen]).mean()
    single = test.expected_gains.mean(axis=0).max()
    assert test.optimal_gain > 0.2
    assert gained >= 0.95 * test.optimal_gain
    assert gained > single + 0.2


def test_the_policy_acts(signal_world: PlantedRewards, signal_policy: PPOHintPolicy) -> None:
    test = signal_world.between(1200, 2200)
    greedy = Counter(one.hint_id for one in signal_policy.choose(test.states, test.hints))
    assert len(greedy) >= 6
    assert greedy[None] < 500
    sampled = signal_policy.sampling(0).choose(test.states, test.hints)
    taken = test.gains_of([one.hint_id for one in sampled]).mean()
    uniform = test.expected_gains.mean()
    assert taken > uniform + 0.1
    uniform_log_probability = -np.log(1 + len(test.hints))
    assert np.mean([one.log_probability for one in sampled]) > uniform_log_probability + 0.5


def test_no_hint_is_chosen_where_every_hint_harms(table_of: TableOf) -> None:
    world = planted_rewards(400, 6, 10, signal=1.0, noise=0.2, seed=2)
    ndcg = world.ndcg.copy()
    ndcg[:, 1:] = np.clip(ndcg[:, :1] - 0.15, 0, 1)
    table = RewardTable(world.session_ids, world.hint_ids, ndcg)
    for turned in (table, table.with_hints(table.hint_ids[::-1])):
        policy = PPOTrainer().fit(world.states, turned, 0).policy
        choices = policy.choose(world.states, world.hints)
        assert np.mean([one.hint_id is None for one in choices]) > 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_on_pure_noise_held_out_sessions_gain_nothing(seed: int, table_of: TableOf) -> None:
    world = pure_noise_rewards(600 + 200 + TEST_SESSIONS, 20, 40, seed)
    policy = _fit(world, table_of, train=600)
    test = world.between(800, 800 + TEST_SESSIONS)
    columns = {None: 0} | {hint_id: 1 + at for at, hint_id in enumerate(test.hint_ids)}
    options = [columns[one.hint_id] for one in policy.choose(test.states, test.hints)]
    measured = table_of(test).gains[np.arange(TEST_SESSIONS), options]
    half_width = 2.6 * measured.std() / np.sqrt(TEST_SESSIONS)
    assert abs(measured.mean()) <= half_width


def test_on_shuffled_rewards_held_out_sessions_do_not_beat_the_best_single_hint(
    table_of: TableOf,
) -> None:
    world = planted_rewards(600 + TEST_SESSIONS, 10, 40, signal=1.0, noise=1.0, seed=4)
    learn, test = world.between(0, 600), world.between(600, 600 + TEST_SESSIONS)
    shuffled = table_of(learn).shuffled_across_sessions(1)
    policy = PPOTrainer().fit(learn.states, shuffled, 0).policy
    chosen = [one.hint_id for one in policy.choose(test.states, test.hints)]
    best_option = max(0.0, test.expected_gains.mean(axis=0).max())
    # Choosing without sight of the tastes cannot beat the best option by more than chance.
    assert test.gains_of(chosen).mean() <= best_option + 0.02
