"""Every hint policy and trainer, PPO apart, runs the suite of its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from agentrec.contracts import HintPolicy, HintPolicyTrainer
from agentrec.hints import Hint
from agentrec.policies.hint_policies.best_single import BestSingleHintTrainer
from agentrec.policies.hint_policies.linear_bandits import LinUCBTrainer, ThompsonTrainer
from agentrec.policies.hint_policies.untrained import (
    FixedHintPolicy,
    FixedHintSettings,
    FixedHintTrainer,
    NearestHintPolicy,
    NearestHintSettings,
    NearestHintTrainer,
    NoHintPolicy,
    NoHintTrainer,
    RandomHintPolicy,
    RandomHintTrainer,
)
from agentrec.policies.hint_policies.value_regression import (
    ValueRegressionConfig,
    ValueRegressionTrainer,
)
from agentrec.testing.hint_policy_conformance import HintPolicyConformance
from agentrec.testing.hint_policy_trainer_conformance import HintPolicyTrainerConformance
from agentrec.testing.planted_sessions import PlantedRewards

SMALL = ValueRegressionConfig(
    max_components=8, max_hint_components=3, shared_ridges=(10.0, 1000.0), own_ridges=(30.0, 300.0)
)
ALWAYS = SMALL.model_copy(update={"abstain": False})
UNTRAINED = ("no_hint", "fixed", "random", "nearest", "nearest_if_similar")
TRAINED: dict[str, HintPolicyTrainer] = {
    "linucb": LinUCBTrainer(),
    "thompson": ThompsonTrainer(),
    "value_regression": ValueRegressionTrainer(SMALL),
    "value_regression_always": ValueRegressionTrainer(ALWAYS),
}
TRAINERS: dict[str, HintPolicyTrainer] = {
    **TRAINED,
    "no_hint": NoHintTrainer(),
    "fixed": FixedHintTrainer(FixedHintSettings(hint_id="a")),
    "random": RandomHintTrainer(),
    "nearest": NearestHintTrainer(NearestHintSettings(min_similarity=0.1)),
    "best_single": BestSingleHintTrainer(),
}


@pytest.fixture(scope="module")
def policies(small_world: PlantedRewards) -> Mapping[str, HintPolicy]:
    rewarded = small_world.rewarded()
    return {
        "no_hint": NoHintPolicy(),
        "fixed": FixedHintPolicy(small_world.hint_ids[1]),
        "random": RandomHintPolicy(3),
        "nearest": NearestHintPolicy(),
        "nearest_if_similar": NearestHintPolicy(0.2),
        **{name: trainer.fit(rewarded, seed=1) for name, trainer in TRAINED.items()},
    }


class TestHintPolicies(HintPolicyConformance):
    @pytest.fixture(params=[*UNTRAINED, *TRAINED])
    def policy(
        self, request: pytest.FixtureRequest, policies: Mapping[str, HintPolicy]
    ) -> HintPolicy:
        self.refuses_other_widths = request.param in TRAINED  # type: ignore[misc]
        return policies[request.param]

    @pytest.fixture
    def hints(self, small_world: PlantedRewards) -> Sequence[Hint]:
        return small_world.hints


class TestHintPolicyTrainers(HintPolicyTrainerConformance):
    @pytest.fixture(params=TRAINERS)
    def trainer(self, request: pytest.FixtureRequest) -> HintPolicyTrainer:
        return TRAINERS[request.param]
