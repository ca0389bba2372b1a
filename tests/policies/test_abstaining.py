import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrec.contracts import HintPolicy, HintPolicyTrainer
from agentrec.errors import InputError
from agentrec.hint_offers import HintChoices, HintOffer, masked
from agentrec.hints import Hint
from agentrec.policies.abstaining import (
    AbstainingHintPolicy,
    AbstainingSettings,
    AbstainingTrainer,
    StorablePolicy,
)
from agentrec.policies.hint_policies.untrained import (
    FixedHintPolicy,
    NoHintPolicy,
    RandomHintPolicy,
)
from agentrec.policies.hint_policies.value_regression import (
    ValueRegressionPolicy,
    ValueRegressionTrainer,
)
from agentrec.policies.policy_kinds import load_policy, trainer_for
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import ScoringPPOPolicy
from agentrec.policies.ppo.trainer import ScoringPPOTrainer
from agentrec.rewarded_offers import RewardedOffer
from agentrec.testing.hint_policy_conformance import HintPolicyConformance
from agentrec.testing.hint_policy_trainer_conformance import HintPolicyTrainerConformance
from agentrec.testing.planted_rewards import PlantedRewards, planted_rewards


@pytest.fixture(scope="module")
def world() -> PlantedRewards:
    return planted_rewards(400, 5, 12, signal=1.0, noise=0.2, seed=3)


@pytest.fixture(scope="module")
def gains(world: PlantedRewards) -> ValueRegressionPolicy:
    return ValueRegressionTrainer().fit(world.between(0, 300).rewarded())


@pytest.fixture(scope="module")
def ppo(world: PlantedRewards) -> ScoringPPOPolicy:
    config = PPOConfig(iterations=3, hidden_sizes=(8,))
    policy = ScoringPPOTrainer(config).fit(world.between(0, 100).rewarded())
    assert isinstance(policy, ScoringPPOPolicy)
    return policy


class _Suite(HintPolicyConformance):
    greedy_by_score = False
    refuses_other_widths = True

    @pytest.fixture
    def hints(self, world: PlantedRewards) -> Sequence[Hint]:
        return world.hints


class TestAroundAFixedHintContract(_Suite):
    @pytest.fixture
    def policy(self, world: PlantedRewards, gains: ValueRegressionPolicy) -> HintPolicy:
        return AbstainingHintPolicy(FixedHintPolicy(world.hint_ids[1]), gains)


class TestAroundPPOContract(_Suite):
    @pytest.fixture
    def policy(self, ppo: ScoringPPOPolicy, gains: ValueRegressionPolicy) -> HintPolicy:
        return AbstainingHintPolicy(ppo, gains)


class TestAroundSamplingPPOContract(_Suite):
    deterministic = False

    @pytest.fixture
    def policy(self, ppo: ScoringPPOPolicy, gains: ValueRegressionPolicy) -> HintPolicy:
        return AbstainingHintPolicy(ppo.sampling(5), gains)


class TestAbstainingTrainerContract(HintPolicyTrainerConformance):
    @pytest.fixture
    def trainer(self) -> HintPolicyTrainer:
        return AbstainingTrainer()


def test_a_hint_is_given_exactly_where_its_predicted_gain_is_above_the_least(
    world: PlantedRewards, gains: ValueRegressionPolicy
) -> None:
    offer, inner = world.offer(), FixedHintPolicy(world.hint_ids[2])
    predicted = gains.predicted(offer)[:, 3]
    for least in (-0.05, 0.0, 0.1):
        choices = AbstainingHintPolicy(inner, gains, least).choose(offer)
        given = np.array([one is not None for one in choices.hint_ids])
        assert np.array_equal(given, predicted > least)
        assert 0 < given.sum() < len(given)
        assert np.array_equal(choices.values, np.where(given, predicted, 0).astype(np.float32))
        assert not choices.log_probabilities.any()
        assert np.array_equal(choices.scores, inner.choose(offer).scores)


def test_a_gain_just_as_high_as_the_least_is_not_above_it(
    world: PlantedRewards, gains: ValueRegressionPolicy
) -> None:
    offer = world.offer().rows([0])
    exactly = float(gains.predicted(offer)[0, 1])
    inner = FixedHintPolicy(world.hint_ids[0])
    assert AbstainingHintPolicy(inner, gains, exactly).choose(offer).hint_ids == [None]
    below = AbstainingHintPolicy(inner, gains, exactly - 1e-4).choose(offer)
    assert below.hint_ids == [world.hint_ids[0]]


def test_abstaining_raises_what_a_single_hint_brings_on_unseen_sessions(
    world: PlantedRewards, gains: ValueRegressionPolicy
) -> None:
    unseen = world.between(300, 400)
    for hint_id in world.hint_ids:
        inner = FixedHintPolicy(hint_id)
        before = unseen.gains_of(inner.choose(unseen.offer()).hint_ids).mean()
        policy = AbstainingHintPolicy(inner, gains)
        after = unseen.gains_of(policy.choose(unseen.offer()).hint_ids).mean()
        assert after > max(0.01, before)


def test_a_sampling_policy_s_probabilities_are_those_of_its_draws(
    world: PlantedRewards, ppo: ScoringPPOPolicy, gains: ValueRegressionPolicy
) -> None:
    rows, times = 6, 4000
    few = world.offer().rows(slice(0, rows))
    offer = few.rows(np.repeat(np.arange(rows), times))
    choices = AbstainingHintPolicy(ppo.sampling(1), gains).choose(offer)
    kept = gains.predicted(few) > 0
    inner = ppo.probabilities(few)
    assert kept.any()
    for row in range(rows):
        own = slice(row * times, (row + 1) * times)
        options, told = choices.options[own], np.exp(choices.log_probabilities[own])
        for option in np.unique(options):
            share = float((options == option).mean())
            assert told[options == option] == pytest.approx(share, abs=0.03)
        abstained = 1 - inner[row, kept[row]].sum()
        assert told[options == 0] == pytest.approx(abstained, abs=1e-4)
        assert set(options.tolist()) <= {0, *np.flatnonzero(kept[row]).tolist()}


def test_a_policy_that_draws_and_does_not_tell_by_what_is_refused(
    world: PlantedRewards, gains: ValueRegressionPolicy
) -> None:
    policy = AbstainingHintPolicy(RandomHintPolicy(1), gains)
    with pytest.raises(ValueError, match="not log-probabilities"):
        policy.choose(world.offer())


class _Misleading(NoHintPolicy):
    """Its scores are a distribution, but not the one it draws by."""

    def choose(self, offer: HintOffer) -> HintChoices:
        shares = np.full((len(offer), 1 + offer.width), np.log(1 / (1 + offer.width)))
        options = np.ones(len(offer), np.int64)
        logs = np.full(len(offer), np.log(0.9), np.float32)
        return HintChoices(offer, options, logs, logs, masked(offer, shares))


def test_scores_that_are_not_of_the_draw_are_refused(
    world: PlantedRewards, gains: ValueRegressionPolicy
) -> None:
    with pytest.raises(ValueError, match="not log-probabilities"):
        AbstainingHintPolicy(_Misleading(), gains).choose(world.offer())


def test_the_least_gain_is_in_range(gains: ValueRegressionPolicy) -> None:
    for wrong in (1.1, float("nan"), float("-inf")):
        with pytest.raises(ValueError, match="least_gain"):
            AbstainingHintPolicy(NoHintPolicy(), gains, wrong)


@pytest.mark.parametrize("around", ["fixed", "ppo", "abstaining"])
def test_what_is_saved_is_one_folder_that_loads_as_any_policy(
    around: str,
    world: PlantedRewards,
    ppo: ScoringPPOPolicy,
    gains: ValueRegressionPolicy,
    tmp_path: Path,
) -> None:
    fixed = FixedHintPolicy(world.hint_ids[1])
    inner: dict[str, StorablePolicy] = {
        "fixed": fixed,
        "ppo": ppo,
        "abstaining": AbstainingHintPolicy(fixed, gains, -0.1),
    }
    policy = AbstainingHintPolicy(inner[around], gains, 0.02)
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert isinstance(loaded, AbstainingHintPolicy)
    assert (loaded.least_gain, type(loaded.policy)) == (0.02, type(inner[around]))
    assert loaded.parameter_hash == policy.parameter_hash
    choices, again = policy.choose(world.offer()), loaded.choose(world.offer())
    assert list(choices) == list(again)
    assert np.array_equal(choices.scores, again.scores)
    assert any(choices.hint_ids)
    assert None in choices.hint_ids


def _save_changed(
    policy: AbstainingHintPolicy, folder: Path, change: Callable[[dict[str, object]], None]
) -> None:
    policy.save(folder)
    file = folder / "policy.json"
    document = json.loads(file.read_text())
    change(document["description"])
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("part", "change", "field"),
    [
        ("policy", {"kind": "oracle"}, "policy.kind"),
        ("policy", {"kind": "linucb"}, "policy.description.config"),
        ("policy", {"description": {}}, "policy.description.hint_id"),
        ("gains", {"hint_ids": ["one"]}, "gains.own"),
        ("gains", {"own_ridge": "much"}, "gains.description.own_ridge"),
    ],
)
def test_what_is_wrong_with_a_part_is_told_with_its_place(
    part: str,
    change: dict[str, object],
    field: str,
    gains: ValueRegressionPolicy,
    tmp_path: Path,
) -> None:
    def harm(description: dict[str, object]) -> None:
        found = description[part]
        assert isinstance(found, dict)
        found.update(change)

    _save_changed(AbstainingHintPolicy(FixedHintPolicy("a"), gains), tmp_path, harm)
    with pytest.raises(InputError) as refused:
        load_policy(tmp_path)
    assert refused.value.field == field
    assert refused.value.file is not None


def test_weights_of_another_policy_are_refused(
    ppo: ScoringPPOPolicy, gains: ValueRegressionPolicy, tmp_path: Path
) -> None:
    AbstainingHintPolicy(ppo, gains).save(tmp_path / "one")
    AbstainingHintPolicy(FixedHintPolicy("a"), gains).save(tmp_path / "other")
    (mine,) = (tmp_path / "one").glob("*.safetensors")
    (theirs,) = (tmp_path / "other").glob("*.safetensors")
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(InputError, match="hash differs"):
        load_policy(tmp_path / "one")


def test_a_trainer_of_the_kind_trains_both_parts(world: PlantedRewards) -> None:
    train = world.between(0, 300).rewarded()
    settings = {"policy": "linucb", "settings": {"ridge": 7}, "least_gain": 0.01}
    policy = trainer_for("abstaining", settings).fit(train, seed=2)
    assert isinstance(policy, AbstainingHintPolicy)
    assert (policy.policy.kind, policy.least_gain) == ("linucb", 0.01)
    alone = trainer_for("linucb", {"ridge": 7}).fit(train, seed=2)
    assert policy.policy.choose(world.offer()).hint_ids == alone.choose(world.offer()).hint_ids
    with pytest.raises(InputError, match="'oracle' is no kind"):
        AbstainingTrainer(AbstainingSettings(policy="oracle"))
    with pytest.raises(InputError) as refused:
        AbstainingTrainer(AbstainingSettings(policy="linucb", settings={"ridge": -1}))
    assert refused.value.field == "linucb.ridge"


def test_training_leaves_the_global_generator_of_torch_alone(world: PlantedRewards) -> None:
    before = torch.get_rng_state()
    rewarded: RewardedOffer = world.between(0, 60).rewarded()
    AbstainingTrainer().fit(rewarded)
    assert torch.equal(before, torch.get_rng_state())
