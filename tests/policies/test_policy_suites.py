"""The suites that policies and trainers run must see a breach of each sentence."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer, choose_best, masked
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.testing.hint_policy_conformance import (
    UNKNOWN_HINTS,
    HintPolicyConformance,
    with_candidates_that_differ,
)
from agentrec.testing.hint_policy_trainer_conformance import HintPolicyTrainerConformance, _sparse
from agentrec.testing.planted_sessions import planted_rewards

HINTS = tuple(Hint(text=f"Prefer films of kind {number}.") for number in range(4))
STATES = np.random.default_rng(7).standard_normal((40, 12)).astype(np.float32)


def _changed(choices: HintChoices, **changes: Any) -> HintChoices:
    """Choices that may break the rules, even those which their class enforces."""
    names = ("offer", "options", "log_probabilities", "values", "scores")
    return _Loose(**{**{name: getattr(choices, name) for name in names}, **changes})


class _Loose(HintChoices):
    def __post_init__(self) -> None:
        pass


class Breach:
    """A sound policy, but for what ``harm`` does to its choices."""

    def __init__(self, harm: Callable[["Breach", HintOffer, HintChoices], HintChoices]) -> None:
        self._harm = harm
        self.calls = 0

    @property
    def parameter_hash(self) -> str:
        return str(self.calls)

    def choose(self, offer: HintOffer) -> HintChoices:
        padded = np.concatenate([offer.vectors.sum(axis=1), [0]])[offer.candidates]
        scores = np.concatenate([np.zeros((len(offer), 1)), padded], axis=1)
        return self._harm(self, offer, choose_best(offer, scores.astype(np.float32)))


def _batch_mean(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    mean = offer.states.mean() if len(offer) else 0
    return _changed(choices, values=np.full(len(offer), mean, np.float32))


def _by_column(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    scores = np.tile(np.arange(1 + offer.width, dtype=np.float32), (len(offer), 1))
    return choose_best(offer, scores)


def _learning(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    policy.calls += 1
    return choices


def _writing(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    offer.states[:] = 0
    return choices


def _random(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    np.random.rand()
    return choices


def _worst(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    return _changed(choices, scores=masked(offer, -choices.scores))


def _advancing(policy: Breach, offer: HintOffer, choices: HintChoices) -> HintChoices:
    policy.calls += 1
    return _changed(choices, values=choices.values + np.float32(policy.calls))


BREACHES: dict[str, tuple[Callable[..., HintChoices], ...]] = {
    "test_every_option_on_offer_has_a_score_and_nothing_else": (
        lambda p, o, c: _changed(c, scores=np.maximum(c.scores, -9)),
        lambda p, o, c: _changed(c, scores=np.where(c.scores == 0, np.nan, c.scores)),
    ),
    "test_no_option_scores_higher_than_the_chosen_one": (_worst,),
    "test_log_probabilities_and_values_are_in_range": (
        lambda p, o, c: _changed(c, log_probabilities=c.log_probabilities - np.inf),
        lambda p, o, c: _changed(c, values=c.values * np.nan),
    ),
    "test_a_session_without_candidates_among_others_gets_no_hint": (
        lambda p, o, c: _changed(c, log_probabilities=c.log_probabilities - 1),
    ),
    "test_a_batch_chooses_as_its_sessions_one_by_one": (_batch_mean,),
    "test_the_order_of_a_sessions_candidates_does_not_matter": (_by_column,),
    "test_acting_leaves_the_parameters_as_they_were": (_learning,),
    "test_equal_calls_give_equal_choices": (_advancing,),
    "test_the_offer_is_left_as_it_was": (_writing,),
    "test_the_global_random_state_is_left_alone": (_random,),
    "test_the_choices_are_of_the_offer": (lambda p, o, c: _changed(c, offer=o.rows(slice(None))),),
    "test_each_session_gets_one_of_its_own_candidates": (
        lambda p, o, c: _changed(c, offer=o.rows(slice(None, None, -1))),
    ),
}


def _run(suite: HintPolicyConformance, test: str, policy: Breach) -> None:
    mixed = with_candidates_that_differ(suite.offered(STATES, [*HINTS, *UNKNOWN_HINTS]), seed=9)
    getattr(suite, test)(policy, mixed)


@pytest.mark.parametrize("test", BREACHES)
def test_a_breach_is_seen_and_a_sound_policy_passes(test: str) -> None:
    suite = HintPolicyConformance()
    _run(suite, test, Breach(lambda policy, offer, choices: choices))
    for harm in BREACHES[test]:
        with pytest.raises((AssertionError, ValueError)):
            _run(suite, test, Breach(harm))


class BadTrainer:
    """A sound trainer but for one thing."""

    def __init__(self, harm: str) -> None:
        self.harm = harm
        self.calls = 0

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        if self.harm == "random":
            np.random.rand()
        if self.harm == "write":
            train.rewards[:, 0] = 0
        if on_progress is not None:
            on_progress(1, 2 if self.harm == "unfinished" else 1)
        value = np.float32(np.nan if self.harm == "nan" and np.isnan(train.rewards).any() else 0)
        self.calls += self.harm == "unseeded"

        def choose(offer: HintOffer) -> HintChoices:
            choices = NoHintPolicy().choose(offer)
            return _changed(choices, values=choices.values + value + self_calls)

        self_calls = self.calls
        return SimpleNamespace(choose=choose)


@pytest.mark.parametrize(
    ("test", "harm"),
    [
        ("test_the_same_seed_gives_the_same_policy", "unseeded"),
        ("test_what_was_not_measured_teaches_nothing_and_breaks_nothing", "nan"),
        ("test_the_sessions_are_left_as_they_were", "write"),
        ("test_the_global_random_state_is_left_alone", "random"),
        ("test_progress_counts_up_to_the_end", "unfinished"),
    ],
)
def test_a_trainer_s_breach_is_seen(test: str, harm: str) -> None:
    suite = HintPolicyTrainerConformance()
    world = planted_rewards(160, 5, 12, signal=1.0, noise=0.5, seed=11)
    for trainer, fails in ((BadTrainer(""), False), (BadTrainer(harm), True)):
        train = _sparse(world.between(0, 100), seed=12)
        valid = _sparse(world.between(100, 160), seed=13)
        if not fails:
            getattr(suite, test)(trainer, train, valid)
            continue
        with pytest.raises((AssertionError, ValueError)):
            getattr(suite, test)(trainer, train, valid)


def test_trainers_that_take_no_sessions_are_seen() -> None:
    suite = HintPolicyTrainerConformance()
    world = planted_rewards(160, 5, 12, signal=1.0, noise=0.5, seed=11)
    train, valid = world.between(0, 100).rewarded(), world.between(100, 160).rewarded()
    for test in (
        "test_without_sessions_there_is_nothing_to_train",
        "test_validation_states_of_another_width_are_refused",
    ):
        with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
            getattr(suite, test)(BadTrainer(""), train, valid)
