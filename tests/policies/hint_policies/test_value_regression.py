import numpy as np
import pytest

from agentrec.contracts import HintPolicy
from agentrec.evaluation.intervals import bootstrap_interval
from agentrec.hint_offers import HintOffer, RewardedOffer
from agentrec.hints import Hint
from agentrec.policies.hint_policies.value_regression import (
    ValueRegressionConfig,
    ValueRegressionPolicy,
    ValueRegressionTrainer,
)
from agentrec.testing.hint_policy_conformance import (
    with_candidates_that_differ,
)
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards, pure_noise_rewards

SMALL = ValueRegressionConfig(
    max_components=8, max_hint_components=3, shared_ridges=(10.0, 1000.0), own_ridges=(30.0, 300.0)
)


@pytest.fixture(scope="module")
def world() -> PlantedRewards:
    return planted_rewards(400, 5, 12, signal=1.0, noise=0.2, seed=3)


@pytest.fixture(scope="module")
def trained(world: PlantedRewards) -> ValueRegressionPolicy:
    return ValueRegressionTrainer(SMALL).fit(world.between(0, 300).rewarded())


@pytest.fixture(scope="module")
def eager(world: PlantedRewards) -> ValueRegressionPolicy:
    config = SMALL.model_copy(update={"abstain": False})
    return ValueRegressionTrainer(config).fit(world.between(0, 300).rewarded())


def _share(world: PlantedRewards, policy: HintPolicy) -> float:
    gains = world.gains_of(policy.choose(world.offer()).hint_ids)
    return float(gains.mean()) / world.optimal_gain


def _with_vectors(world: PlantedRewards, seed: int) -> PlantedRewards:
    """The same world, its hints' vectors saying nothing of them."""
    vectors = np.random.default_rng(seed).standard_normal(world.vectors.shape)
    return PlantedRewards(
        world.states,
        world.session_ids,
        world.hints,
        vectors.astype(np.float32),
        world.ndcg,
        world.expected_ndcg,
    )


def _brute_force(
    policy: ValueRegressionPolicy, train: RewardedOffer, offer: HintOffer
) -> np.ndarray:
    """The same fit with every weight written out: one row a session and hint."""
    features, (shared_ridge, own_ridge) = policy._features, policy.ridges
    ids = policy.hint_ids

    def design(of: HintOffer) -> np.ndarray:
        states, hints = features.states.with_intercept(of.states), features.of_hints(of.vectors)
        similar = features.of_similarities(of.similarities)
        rows = []
        for session in range(len(of)):
            for column, place in enumerate(of.candidates[session].tolist()):
                own = np.zeros((len(ids), states.shape[1]))
                if of.hint_ids[place] in ids:
                    own[ids.index(of.hint_ids[place])] = states[session]
                products = np.outer(states[session], hints[place]).ravel()
                rows.append(np.concatenate([products, [similar[session, column]], own.ravel()]))
        return np.array(rows)

    rows, rewards = design(train.offer), train.rewards[:, 1:].ravel()
    known = np.isfinite(rewards)
    rows, rewards = rows[known], rewards[known]
    own_width = len(ids) * features.shape[0]
    penalty = np.full(rows.shape[1], shared_ridge)
    penalty[-own_width:] = own_ridge
    weights = np.linalg.solve(rows.T @ rows + np.diag(penalty), rows.T @ rewards)
    return (design(offer) @ weights).reshape(len(offer), offer.width)


def test_predictions_are_those_of_the_regression_with_every_weight_written_out() -> None:
    world = planted_rewards(60, 4, 6, signal=1.0, noise=0.5, seed=2)
    train, test = world.between(0, 40).rewarded(), world.between(40, 60).offer()
    rewards = train.rewards.copy()
    rewards[:, 1:][np.random.default_rng(0).random((40, 4)) < 0.3] = np.nan
    train = RewardedOffer(train.offer, rewards)
    stranger = Hint(text="Prefer what nobody measured.")
    vectors = np.concatenate([world.vectors, world.vectors[:1] - world.vectors[1:2]])
    offer = HintOffer.of_all(test.states, [*world.hints, stranger], vectors, test.states)
    policy = ValueRegressionTrainer(SMALL).fit(train)
    predicted = policy.predicted(offer)
    assert not predicted[:, 0].any()
    assert np.allclose(predicted[:, 1:], _brute_force(policy, train, offer), atol=1e-4)
    assert np.abs(predicted[:, -1]).max() > 0.01


def test_predictions_follow_the_candidates(
    trained: ValueRegressionPolicy, world: PlantedRewards
) -> None:
    everything = trained.predicted(world.offer())
    mixed = with_candidates_that_differ(world.offer(), seed=4)
    predicted = trained.predicted(mixed)
    expected = np.take_along_axis(everything[:, 1:], np.maximum(mixed.candidates, 0), axis=1)
    assert np.allclose(predicted[:, 1:], np.where(mixed.present, expected, 0), atol=1e-6)
    assert predicted.dtype == np.float32


def test_values_are_predictions_of_what_was_chosen(
    trained: ValueRegressionPolicy, eager: ValueRegressionPolicy, world: PlantedRewards
) -> None:
    offer = with_candidates_that_differ(world.offer(), seed=4)
    rows = np.arange(len(offer))
    for policy in (trained, eager):
        choices = policy.choose(offer)
        assert np.array_equal(choices.values, policy.predicted(offer)[rows, choices.options])
    assert (trained.choose(offer).values >= 0).all()
    given = np.array([one is not None for one in eager.choose(offer).hint_ids])
    assert np.array_equal(given, offer.present.any(axis=1))
    assert (eager.choose(offer).values < 0).any()


def test_it_reaches_the_optimum_on_planted_signal() -> None:
    for seed in range(2):
        world = planted_rewards(2500, 20, 24, signal=1.0, noise=1.0, seed=seed)
        train, test = world.between(0, 1000), world.between(1500, 2500)
        by_folds = ValueRegressionTrainer().fit(train.rewarded())
        assert _share(test, by_folds) > 0.9
    by_valid = ValueRegressionTrainer().fit(train.rewarded(), world.between(1000, 1500).rewarded())
    assert _share(test, by_valid) > 0.9


def test_it_learns_hint_by_hint_where_vectors_say_nothing() -> None:
    world = _with_vectors(planted_rewards(2000, 8, 16, signal=1.0, noise=0.5, seed=5), seed=6)
    train, test = world.between(0, 1000), world.between(1000, 2000)
    assert _share(test, ValueRegressionTrainer().fit(train.rewarded())) > 0.8


def test_hints_it_never_met_are_judged_by_their_vectors() -> None:
    world = planted_rewards(2000, 30, 16, signal=1.0, noise=0.5, seed=7)
    train, test = world.between(0, 1000).rewarded(), world.between(1000, 2000)
    known, new = world.hint_ids[:20], world.hint_ids[20:]
    gone = np.isin(train.offer.candidates, np.arange(20, 30))
    rewards = train.rewards.copy()
    rewards[:, 1:][gone] = np.nan
    policy = ValueRegressionTrainer().fit(RewardedOffer(train.offer.without(new), rewards))
    assert set(policy.hint_ids) == set(known)
    gains = test.gains_of(policy.choose(test.offer().without(known)).hint_ids)
    best = test.expected_gains[:, [0, *range(21, 31)]].max(axis=1)
    assert gains.mean() > 0.8 * best.mean()


def test_it_gains_nothing_from_noise_and_says_so() -> None:
    world = pure_noise_rewards(2500, 8, 16, seed=1)
    policy = ValueRegressionTrainer().fit(world.between(0, 1000).rewarded())
    test = world.between(1000, 2500).rewarded()
    choices = policy.choose(test.offer)
    gained = test.gained(choices).astype(np.float64)
    interval = bootstrap_interval(gained, seed=0, resamples=2000)
    assert interval.low <= 0 <= interval.high
    assert choices.values.mean() < 0.03


def test_ridges_are_chosen_by_the_sessions_left_out() -> None:
    """Noise alone asks for the strongest shrinkage, clear signal does not."""
    config = SMALL.model_copy(update={"shared_ridges": (1.0, 1e6), "own_ridges": (1.0, 1e6)})
    noise = pure_noise_rewards(1000, 5, 12, seed=0)
    clear = planted_rewards(1000, 5, 12, signal=1.0, noise=0.0, seed=0)
    for half in (None, slice(600, 1000)):
        chosen = []
        for world in (noise, clear):
            valid = None if half is None else world.rewarded().rows(half)
            train = world.rewarded().rows(slice(0, 600))
            chosen.append(ValueRegressionTrainer(config).fit(train, valid).ridges)
        assert chosen[0] == (1e6, 1e6)
        assert 1.0 in chosen[1]


def test_vectors_of_another_length_are_refused(
    trained: ValueRegressionPolicy, world: PlantedRewards
) -> None:
    offer = HintOffer.of_all(world.states, world.hints, world.vectors[:, :-1])
    with pytest.raises(ValueError, match="this policy was trained on 12 dimensions"):
        trained.choose(offer)
    valid = RewardedOffer(offer, world.rewarded().rewards)
    with pytest.raises(ValueError, match="vectors"):
        ValueRegressionTrainer(SMALL).fit(world.rewarded(), valid)
