import numpy as np
import pytest

from agentrec.evaluation.intervals import bootstrap_interval
from agentrec.hint_offers import HintOffer, RewardedOffer
from agentrec.hints import Hint
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.linear_bandits import (
    LinearBanditConfig,
    LinearPosterior,
    LinUCBPolicy,
    LinUCBTrainer,
    ThompsonPolicy,
    ThompsonTrainer,
)
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards, pure_noise_rewards

Trainer = type[LinUCBTrainer] | type[ThompsonTrainer]
TRAINERS: list[Trainer] = [LinUCBTrainer, ThompsonTrainer]


@pytest.fixture(scope="module")
def world() -> PlantedRewards:
    return planted_rewards(300, 5, 12, signal=1.0, noise=0.2, seed=3)


@pytest.fixture(scope="module")
def linucb(world: PlantedRewards) -> LinUCBPolicy:
    return LinUCBTrainer().fit(world.rewarded(), seed=1)


@pytest.fixture(scope="module")
def thompson(world: PlantedRewards) -> ThompsonPolicy:
    return ThompsonTrainer().fit(world.rewarded(), seed=1)


def test_each_trainer_makes_its_own_kind(linucb: LinUCBPolicy, thompson: ThompsonPolicy) -> None:
    assert (type(linucb), type(thompson)) == (LinUCBPolicy, ThompsonPolicy)


def test_the_posterior_is_that_of_ridge_regression() -> None:
    generator = np.random.default_rng(0)
    rows, rewards = generator.standard_normal((30, 4)), generator.standard_normal(30)
    posterior = LinearPosterior.prior(("a", "b"), 4, ridge=2.0)
    for row, reward in zip(rows, rewards, strict=True):
        posterior.observe(1, row, float(reward))
    design = rows.T @ rows + 2.0 * np.eye(4)
    assert np.allclose(posterior.inverses[1], np.linalg.inv(design))
    assert np.allclose(posterior.means[1], np.linalg.solve(design, rows.T @ rewards))
    assert not posterior.means[0].any()
    means, spreads = posterior.predict(np.array([0, 1]), rows[0])
    assert means[0] == 0
    assert spreads[0] == pytest.approx(np.sqrt(rows[0] @ rows[0] / 2.0))
    assert spreads[1] == pytest.approx(np.sqrt(rows[0] @ np.linalg.inv(design) @ rows[0]))


@pytest.mark.parametrize("made", TRAINERS)
def test_only_the_reward_of_the_chosen_hint_is_revealed(made: Trainer) -> None:
    """One session, seen once: whatever the others brought, only one hint's weights move."""
    world = planted_rewards(1, 6, 4, signal=1.0, noise=0.0, seed=0)
    for seed in range(5):
        policy = made().fit(world.rewarded(), seed=seed)
        assert (policy.description_and_tensors()[1]["means"].any(axis=1)).sum() <= 1


def test_nothing_is_learnt_of_what_was_not_measured(world: PlantedRewards) -> None:
    rewarded = world.rewarded()
    rewards = rewarded.rewards.copy()
    rewards[:, 3] = np.nan
    policy = LinUCBTrainer().fit(RewardedOffer(rewarded.offer, rewards))
    means = policy.description_and_tensors()[1]["means"]
    silent = policy.hint_ids.index(world.hint_ids[2])
    assert not means[silent].any()
    assert means.any(axis=1).sum() == 4


def test_an_unseen_hint_is_expected_to_bring_nothing(
    thompson: ThompsonPolicy, world: PlantedRewards
) -> None:
    offer = HintOffer.of_all(world.states, [Hint(text="Prefer the unheard of.")])
    assert not thompson.expected(offer).any()
    assert set(thompson.choose(offer).hint_ids) == {None}


def test_values_and_scores_are_expected_rewards(
    thompson: ThompsonPolicy, world: PlantedRewards
) -> None:
    choices = thompson.choose(world.offer())
    assert np.array_equal(choices.scores, thompson.expected(world.offer()))
    assert np.array_equal(choices.values, choices.scores.max(axis=1))
    assert (choices.values >= 0).all()
    gained = world.gains_of(choices.hint_ids).mean()
    # The prior draws what few sessions taught towards 0.
    assert 0.5 * gained < choices.values.mean() < 1.1 * gained


@pytest.mark.parametrize("made", TRAINERS)
def test_it_beats_the_best_single_hint_on_planted_signal(made: Trainer) -> None:
    shares = []
    for seed in range(3):
        world = planted_rewards(2000, 8, 16, signal=1.0, noise=1.0, seed=seed)
        train, test = world.between(0, 1000), world.between(1000, 2000)
        gains = [
            float(test.gains_of(policy.choose(test.offer()).hint_ids).mean()) / test.optimal_gain
            for policy in (
                made().fit(train.rewarded(), seed=seed),
                BestSingleHintTrainer().fit(train.rewarded()),
            )
        ]
        assert gains[0] > gains[1] + 0.3
        shares.append(gains[0])
    assert np.mean(shares) > 0.5


@pytest.mark.parametrize("made", TRAINERS)
def test_it_gains_nothing_from_noise(made: Trainer) -> None:
    world = pure_noise_rewards(2500, 8, 16, seed=1)
    policy = made().fit(world.between(0, 1000).rewarded())
    test = world.between(1000, 2500).rewarded()
    gained = test.gained(policy.choose(test.offer)).astype(np.float64)
    interval = bootstrap_interval(gained, seed=0, resamples=2000)
    assert interval.low <= 0 <= interval.high


def test_more_passes_reveal_more(world: PlantedRewards) -> None:
    calls: list[tuple[int, int]] = []
    LinUCBTrainer(LinearBanditConfig(epochs=2)).fit(
        world.rewarded(), on_progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(done, 600) for done in range(100, 601, 100)]
