"""Learning itself: there where it should be, and not there where nothing is to be learnt."""

import numpy as np
import pytest

from agentrec.hint_offers import RewardedOffer
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import PPOTrainer, ScoringPPOTrainer
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.planted_sessions import (
    PlantedRewards,
    planted_rewards,
    pure_noise_rewards,
)

TEST_SESSIONS = 3000


def _fit(trainer: PPOTrainer, world: PlantedRewards, *, train: int, seed: int = 0) -> PPOHintPolicy:
    """Train on the first sessions, choose on the next 200, leave the rest for the test."""
    learn, valid = world.between(0, train), world.between(train, train + 200)
    return trainer.fit(learn.rewarded(), valid.rewarded(), seed=seed)


@pytest.fixture(scope="module")
def signal_world() -> PlantedRewards:
    return planted_rewards(1000 + 200 + TEST_SESSIONS, 10, 100, signal=1.0, noise=0.1, seed=11)


@pytest.fixture(scope="module")
def signal_policy(trainer_type: type[PPOTrainer], signal_world: PlantedRewards) -> PPOHintPolicy:
    return _fit(trainer_type(PPOConfig(iterations=30)), signal_world, train=1000)


def test_on_planted_signal_held_out_sessions_get_95_percent_of_the_optimal_gain(
    signal_world: PlantedRewards, signal_policy: PPOHintPolicy
) -> None:
    test = signal_world.between(1200, 1200 + TEST_SESSIONS)
    chosen = signal_policy.choose(test.offer())
    gained = test.gains_of(chosen.hint_ids).mean()
    single = test.expected_gains.mean(axis=0).max()
    assert test.optimal_gain > 0.2
    assert gained >= 0.95 * test.optimal_gain
    assert gained > single + 0.2


def test_the_policy_acts(signal_world: PlantedRewards, signal_policy: PPOHintPolicy) -> None:
    test = signal_world.between(1200, 2200)
    greedy = signal_policy.choose(test.offer()).hint_ids
    assert len(set(greedy)) >= 6
    assert greedy.count(None) < 500
    sampled = signal_policy.sampling(0).choose(test.offer())
    taken = test.gains_of(sampled.hint_ids).mean()
    uniform = test.expected_gains.mean()
    assert taken > uniform + 0.1
    assert sampled.log_probabilities.mean() > -np.log(1 + len(test.hints)) + 0.5


def test_no_hint_is_chosen_where_every_hint_harms(trainer_type: type[PPOTrainer]) -> None:
    world = planted_rewards(400, 6, 10, signal=1.0, noise=0.2, seed=2)
    rewards = world.rewarded().rewards.copy()
    rewards[:, 1:] = -0.15
    policy = trainer_type(PPOConfig(iterations=25, learning_rate=1e-3)).fit(
        RewardedOffer(world.offer(), rewards)
    )
    choices = policy.choose(world.offer()).hint_ids
    assert choices.count(None) > 0.95 * len(choices)


@pytest.mark.parametrize("seed", [0, 1])
def test_on_pure_noise_held_out_sessions_gain_nothing(
    trainer_type: type[PPOTrainer], seed: int
) -> None:
    world = pure_noise_rewards(600 + 200 + TEST_SESSIONS, 20, 40, seed)
    policy = _fit(trainer_type(PPOConfig(iterations=20)), world, train=600)
    test = world.between(800, 800 + TEST_SESSIONS).rewarded()
    measured = test.gained(policy.choose(test.offer))
    half_width = 2.6 * measured.std() / np.sqrt(TEST_SESSIONS)
    assert abs(measured.mean()) <= half_width


def test_on_shuffled_rewards_held_out_sessions_do_not_beat_the_best_single_hint(
    trainer_type: type[PPOTrainer],
) -> None:
    world = planted_rewards(600 + TEST_SESSIONS, 10, 40, signal=1.0, noise=1.0, seed=4)
    learn, test = world.between(0, 600), world.between(600, 600 + TEST_SESSIONS)
    table = RewardTable(learn.session_ids, learn.hint_ids, learn.ndcg).shuffled_across_sessions(1)
    policy = trainer_type(PPOConfig(iterations=20)).fit(table.rewarded(learn.offer()))
    chosen = policy.choose(test.offer()).hint_ids
    best_option = max(0.0, test.expected_gains.mean(axis=0).max())
    # Choosing without sight of the tastes cannot beat the best option by more than chance.
    assert test.gains_of(chosen).mean() <= best_option + 0.02


def test_hints_that_were_not_trained_on_are_used_where_they_help() -> None:
    world = planted_rewards(1500 + TEST_SESSIONS, 40, 12, signal=1.0, noise=0.1, seed=7)
    new = world.hint_ids[:8]
    train, test = world.between(0, 1500), world.between(1500, 1500 + TEST_SESSIONS)
    offer = train.offer().without(new)
    rewards = np.where(
        np.isin(np.arange(41), np.arange(1, 9)), np.float32(np.nan), train.rewarded().rewards
    )
    policy = ScoringPPOTrainer(PPOConfig(iterations=12, learning_rate=2e-3)).fit(
        RewardedOffer(offer, rewards)
    )
    without = test.gains_of(policy.choose(test.offer().without(new)).hint_ids).mean()
    choices = policy.choose(test.offer()).hint_ids
    assert sum(choices.count(hint_id) for hint_id in new) > 0.08 * len(choices)
    # Eight more hints to choose among: the best of 40 is better than the best of 32.
    assert test.gains_of(choices).mean() > without
