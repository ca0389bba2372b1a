import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.hint_offers import HintOffer
from agentrec.hints import Hint
from agentrec.policies.policy_kinds import load_policy
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.testing.hint_policy_conformance import HintPolicyConformance
from agentrec.testing.planted_sessions import PlantedRewards


class _Trained(HintPolicyConformance):
    refuses_other_widths = True

    @pytest.fixture(autouse=True)
    def _new_hints(self, trained: PPOHintPolicy) -> None:
        self.scores_new_hints = trained.kind == "scoring_ppo"

    @pytest.fixture
    def hints(self, small_world: PlantedRewards) -> Sequence[Hint]:
        return small_world.hints


class TestGreedyPPOHintPolicyContract(_Trained):
    @pytest.fixture
    def policy(self, trained: PPOHintPolicy) -> HintPolicy:
        return trained


class TestSamplingPPOHintPolicyContract(_Trained):
    deterministic = False

    @pytest.fixture
    def policy(self, trained: PPOHintPolicy) -> HintPolicy:
        return trained.sampling(0)


def test_what_is_on_offer_shares_all_of_the_probability(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    whole = small_world.offer()
    fewer = whole.without([small_world.hint_ids[0], small_world.hint_ids[2]])
    before, after = trained.probabilities(whole), trained.probabilities(fewer)
    assert np.allclose(after.sum(axis=1), 1)
    assert not after[:, [1, 3]].any()
    assert (after[:, [0, 2, 4, 5]] > before[:, [0, 2, 4, 5]]).all()


def test_greedy_choices_are_certain_and_the_likeliest(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    offer = small_world.offer()
    choices = trained.choose(offer)
    probabilities = trained.probabilities(offer)
    assert np.array_equal(choices.options, probabilities.argmax(axis=1))
    assert np.allclose(np.exp(choices.scores), probabilities)
    assert not choices.log_probabilities.any()


def test_sampling_follows_the_probabilities_and_its_seed(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    offer = small_world.offer().rows(np.zeros(5000, dtype=np.int64))
    choices = trained.sampling(9).choose(offer)
    assert choices.hint_ids == trained.sampling(9).choose(offer).hint_ids
    counts = Counter(choices.options.tolist())
    expected = trained.probabilities(offer)[0]
    for option, chance in enumerate(expected):
        assert counts[option] / 5000 == pytest.approx(chance, abs=0.03)
    taken = np.log(expected)[choices.options]
    assert np.allclose(choices.log_probabilities, taken, atol=1e-5)


def test_a_saved_policy_chooses_the_same(
    trained: PPOHintPolicy, small_world: PlantedRewards, tmp_path: Path
) -> None:
    trained.save(tmp_path / "policy")
    offer = small_world.offer()
    for back in (type(trained).load(tmp_path / "policy"), load_policy(tmp_path / "policy")):
        assert isinstance(back, type(trained))
        assert list(back.choose(offer)) == list(trained.choose(offer))
        assert back.parameter_hash == trained.parameter_hash
        assert back.config == trained.config
        assert (back.hint_ids, back.seed) == (trained.hint_ids, trained.seed)
        assert back.curve == trained.curve


def test_many_sessions_are_computed_as_few_are(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    some = small_world.offer().rows(slice(0, 5))
    many = small_world.offer().rows(np.tile(np.arange(5), 500))
    assert np.allclose(
        trained.probabilities(many), np.tile(trained.probabilities(some), (500, 1)), atol=1e-5
    )


def test_a_description_that_does_not_fit_the_weights_is_named(
    trained: PPOHintPolicy, tmp_path: Path
) -> None:
    trained.save(tmp_path)
    file = tmp_path / "policy.json"
    document = json.loads(file.read_text())
    said = document["description"]
    for change, says in (
        ({"state_dim": 13}, "the policy needs"),
        ({"dimension": 5}, "the policy needs"),
        ({"config": {**said["config"], "hidden_sizes": [17]}}, "the policy needs"),
        ({"config": {**said["config"], "members": 3}}, "the policy needs"),
        ({"config": {**said["config"], "iterations": 0}}, "greater than or equal to 1"),
        ({"config": {**said["config"], "hidden_sizes": [0]}}, "at least 1 unit"),
        ({"surprise": 1}, "not permitted"),
    ):
        file.write_text(json.dumps({**document, "description": {**said, **change}}))
        with pytest.raises(InputError, match=says) as caught:
            load_policy(tmp_path)
        assert caught.value.file is not None
        assert caught.value.field is not None


def test_an_offer_of_nothing_is_no_hint(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    empty = HintOffer.of_all(small_world.states[:3], (), small_world.vectors[:0])
    assert trained.choose(empty).hint_ids == [None] * 3
