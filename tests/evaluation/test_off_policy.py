import math
from typing import Any

import numpy as np
import pytest

from agentrec.evaluation.off_policy import (
    LoggedChoices,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from agentrec.testing.planted_rewards import PlantedRewards, planted_rewards

# Weights 1, 3/2 and 0.
REWARDS = np.array([1.0, 0.5, -1.0])
LOGGED = np.log([1 / 2, 1 / 3, 1 / 6])
OPTIONS = np.array([0, 1, 1])
TARGET = np.array([[1 / 2, 1 / 2], [1 / 2, 1 / 2], [1, 0]])
TAKEN = np.array([1 / 2, 1 / 2, 0])
PREDICTED = np.array([[0.8, 0.4], [0.2, 0.6], [0.1, np.nan]])


def _logged(**changes: Any) -> LoggedChoices:
    given = {"rewards": REWARDS, "log_probabilities": LOGGED, "target_probabilities": TAKEN}
    return LoggedChoices(**{**given, **changes})


def test_inverse_propensity_by_hand() -> None:
    estimate = inverse_propensity(_logged(), seed=0)
    # (1 * 1 + 3/2 * 1/2 + 0 * -1) / 3
    assert estimate.reward.mean == pytest.approx(7 / 12)
    # (1 + 3/2)^2 / (1 + 9/4)
    assert estimate.effective_sessions == pytest.approx((25 / 4) / (13 / 4))
    assert estimate.largest_weight == pytest.approx(3 / 2)
    assert estimate.clipped == 0
    assert estimate.reward.low < estimate.reward.mean < estimate.reward.high


def test_self_normalised_by_hand() -> None:
    # (1 * 1 + 3/2 * 1/2) / (1 + 3/2)
    assert self_normalised(_logged(), seed=0).reward.mean == pytest.approx(7 / 10)


def test_doubly_robust_by_hand() -> None:
    predicted = np.where(np.isnan(PREDICTED), -0.5, PREDICTED)
    estimate = doubly_robust(_logged(), OPTIONS, predicted, TARGET, seed=0)
    # 6/10 + 1 * (1 - 8/10); 4/10 + 3/2 * (5/10 - 6/10); 1/10 + 0 * (...)
    assert estimate.reward.mean == pytest.approx((8 / 10 + 1 / 4 + 1 / 10) / 3)


def test_clipping_by_hand() -> None:
    estimate = inverse_propensity(_logged(largest_weight=5 / 4), seed=0)
    assert estimate.reward.mean == pytest.approx((1 + 5 / 8) / 3)
    assert (estimate.clipped, estimate.largest_weight) == (1, 5 / 4)
    # Every weight cut to nearly nothing leaves the predictions.
    predicted = np.where(np.isnan(PREDICTED), 0, PREDICTED)
    modelled = doubly_robust(_logged(largest_weight=1e-9), OPTIONS, predicted, TARGET, seed=0)
    assert modelled.reward.mean == pytest.approx((6 / 10 + 4 / 10 + 1 / 10) / 3)


def test_a_policy_judged_by_its_own_choices_has_their_mean() -> None:
    same = _logged(target_probabilities=np.exp(LOGGED))
    for estimate in (inverse_propensity(same, seed=0), self_normalised(same, seed=0)):
        assert estimate.reward.mean == pytest.approx(REWARDS.mean())
        assert estimate.effective_sessions == pytest.approx(3)


def test_predictions_nobody_looks_at_may_be_missing() -> None:
    options = np.array([0, 1, 0])
    logged = _logged(target_probabilities=np.array([1 / 2, 1 / 2, 1]))
    assert doubly_robust(logged, options, PREDICTED, TARGET, seed=0).reward.mean
    with pytest.raises(ValueError, match="predicted holds a value that is not finite"):
        doubly_robust(_logged(), OPTIONS, PREDICTED, TARGET, seed=0)


def test_a_policy_that_would_have_done_none_of_it() -> None:
    stranger = _logged(target_probabilities=np.zeros(3))
    estimate = inverse_propensity(stranger, seed=0)
    assert (estimate.reward.mean, estimate.effective_sessions) == (0, 0)
    with pytest.raises(ValueError, match="none of the logged choices"):
        self_normalised(stranger, seed=0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rewards": np.array([])}, "at least one"),
        ({"rewards": REWARDS[:, None]}, r"shape \[3, 1\]"),
        ({"rewards": np.array([1.0, np.nan, 0])}, "rewards hold"),
        ({"log_probabilities": LOGGED[:2]}, r"log_probabilities have shape \[2\]"),
        ({"log_probabilities": np.array([-1, -np.inf, -1])}, "probability 0"),
        ({"log_probabilities": np.array([-1, -800.0, -1])}, "probability 0"),
        ({"log_probabilities": np.array([-1, np.nan, -1])}, "at most 0"),
        ({"log_probabilities": np.array([-1, 0.5, -1])}, "at most 0"),
        ({"target_probabilities": np.array([0, 0.5, 1.5])}, "0 to 1"),
        ({"target_probabilities": np.array([0, np.nan, 1])}, "0 to 1"),
        ({"largest_weight": 0.0}, "above 0"),
        ({"largest_weight": math.nan}, "above 0"),
    ],
)
def test_what_cannot_have_been_logged_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _logged(**changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"options": np.array([0, 1])}, "options are 3 columns of the 2"),
        ({"options": np.array([0, 1, 2])}, "options are 3 columns of the 2"),
        ({"options": np.array([0, 1, -1])}, "options are 3 columns of the 2"),
        ({"options": np.array([0, 1, 0])}, "not those of target"),
        ({"target": TARGET[:2]}, "shapes"),
        ({"predicted": PREDICTED[:, :1]}, "shapes"),
        ({"target": TARGET * 0.9}, "sum to 1"),
        ({"target": np.array([[1.5, -0.5], [0.5, 0.5], [1, 0]])}, "0 to 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], problem: str) -> None:
    given: dict[str, Any] = {"options": OPTIONS, "predicted": np.zeros((3, 2)), "target": TARGET}
    with pytest.raises(ValueError, match=problem):
        doubly_robust(_logged(), **{**given, **changes}, seed=0)


class _Log:
    """A softly random policy logs choices among sessions drawn from a planted world."""

    def __init__(self, world: PlantedRewards, seed: int, sessions: int = 300) -> None:
        generator = np.random.default_rng(seed)
        drawn = generator.integers(0, len(world.states), sessions)
        expected = world.expected_gains[drawn].astype(np.float64)
        num_options = expected.shape[1]
        # The logging policy leans the wrong way; the judged one knows better.
        logging = _softmax(-2 * expected)
        self.target = _softmax(4 * expected)
        self.options = (generator.random((sessions, 1)) > logging.cumsum(axis=1)).sum(axis=1)
        self.options = np.minimum(self.options, num_options - 1)
        rows = np.arange(sessions)
        self.expected = expected
        self.choices = LoggedChoices(
            expected[rows, self.options] + generator.normal(0, 0.1, sessions),
            np.log(logging[rows, self.options]),
            self.target[rows, self.options],
        )


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def world() -> PlantedRewards:
    return planted_rewards(5000, 4, 4, signal=1.0, noise=0.0, seed=0)


def test_the_seed_is_that_of_the_interval(world: PlantedRewards) -> None:
    choices = _Log(world, 0).choices
    assert inverse_propensity(choices, seed=3) == inverse_propensity(choices, seed=3)
    first, second = (inverse_propensity(choices, seed=seed).reward for seed in (3, 4))
    assert first.mean == second.mean
    assert first.low != second.low


def test_intervals_hold_the_truth_as_often_as_they_say(world: PlantedRewards) -> None:
    expected = world.expected_gains.astype(np.float64)
    truth = float((_softmax(4 * expected) * expected).sum(axis=1).mean())
    assert truth > 0.05
    held = np.zeros((200, 3))
    means = np.zeros((200, 3))
    for seed in range(200):
        log = _Log(world, seed)
        model = 0.8 * log.expected + 0.02
        for place, estimate in enumerate(
            (
                inverse_propensity(log.choices, seed=seed, resamples=400),
                self_normalised(log.choices, seed=seed, resamples=400),
                doubly_robust(
                    log.choices, log.options, model, log.target, seed=seed, resamples=400
                ),
            )
        ):
            held[seed, place] = estimate.reward.low <= truth <= estimate.reward.high
            means[seed, place] = estimate.reward.mean
    assert (held.mean(axis=0) >= 0.90).all()
    assert (held.mean(axis=0) <= 0.99).all()
    # Unbiased: within four deviations of a mean of 200.
    assert (np.abs(means.mean(axis=0) - truth) < 4 * means.std(axis=0) / math.sqrt(200)).all()
    # What a naive mean of the log would say is far off.
    assert np.mean([_Log(world, seed).choices.rewards.mean() for seed in range(20)]) < truth - 0.1
    assert means[:, 2].std() < 0.7 * means[:, 0].std()


def test_a_wrong_model_does_not_bias_the_doubly_robust(world: PlantedRewards) -> None:
    expected = world.expected_gains.astype(np.float64)
    truth = float((_softmax(4 * expected) * expected).sum(axis=1).mean())
    means = []
    for seed in range(200):
        log = _Log(world, seed)
        wrong = np.full_like(log.expected, 0.3)
        estimate = doubly_robust(log.choices, log.options, wrong, log.target, seed=0, resamples=1)
        means.append(estimate.reward.mean)
    assert abs(np.mean(means) - truth) < 4 * np.std(means) / math.sqrt(200)
