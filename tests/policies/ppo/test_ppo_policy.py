import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.hints import Hint
from agentrec.policies.policy_files import PolicyDescription, read_policy, write_policy
from agentrec.policies.ppo.categorical_policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import TrainingResult
from agentrec.testing.hint_policy_conformance import HintPolicyConformance
from agentrec.testing.planted_rewards import PlantedRewards


@pytest.fixture
def trained(small_result: TrainingResult) -> PPOHintPolicy:
    return small_result.policy


class _Trained(HintPolicyConformance):
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


def test_masking_shares_all_probability_among_what_is_on_offer(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    states, hints = small_world.states, small_world.hints
    offered = [hints[3], Hint(text="Prefer the unknown."), hints[1]]
    masked = trained.probabilities(states, offered)
    assert torch.allclose(masked.sum(dim=1), torch.ones(len(states)))
    assert torch.equal(masked[:, [1, 3, 5]], torch.zeros(len(states), 3))
    assert bool((masked[:, [0, 2, 4]] > 0).all())


def test_choices_carry_the_masked_log_probability_of_the_likeliest_option(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    offered = small_world.hints[:3]
    masked = trained.probabilities(small_world.states, offered)
    choices = trained.choose(small_world.states, offered)
    best = masked.max(dim=1).values.log().tolist()
    assert [one.log_probability for one in choices] == pytest.approx(best)


def test_sampling_follows_the_probabilities_and_its_seed(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    states = np.repeat(small_world.states[:1], 5000, axis=0)
    choices = trained.sampling(9).choose(states, small_world.hints)
    assert choices == trained.sampling(9).choose(states, small_world.hints)
    counts = Counter(one.hint_id for one in choices)
    expected = trained.probabilities(states[:1], small_world.hints)[0]
    for option, hint_id in enumerate((None, *trained.hint_ids)):
        assert counts[hint_id] / 5000 == pytest.approx(expected[option].item(), abs=0.03)


def test_states_of_another_width_are_refused(
    trained: PPOHintPolicy, small_world: PlantedRewards
) -> None:
    with pytest.raises(ValueError, match="12 dimensions"):
        trained.choose(small_world.states[:, :7], small_world.hints)


def test_a_saved_policy_chooses_the_same(
    trained: PPOHintPolicy, small_world: PlantedRewards, tmp_path: Path
) -> None:
    trained.save(tmp_path / "policy")
    back = PPOHintPolicy.load(tmp_path / "policy")
    states, hints = small_world.states, small_world.hints
    assert back.choose(states, hints) == trained.choose(states, hints)
    assert back.parameter_hash == trained.parameter_hash
    assert back.config == trained.config
    assert (back.hint_ids, back.seed, back.curve) == (trained.hint_ids, trained.seed, trained.curve)


def test_saving_over_a_policy_leaves_only_the_new_one(
    trained: PPOHintPolicy, tmp_path: Path
) -> None:
    (tmp_path / "weights-0123456789abcdef.safetensors").write_bytes(b"old")
    trained.save(tmp_path)
    trained.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    PPOHintPolicy.load(tmp_path)


def test_a_save_cut_off_before_the_description_leaves_the_old_policy(
    trained: PPOHintPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.save(tmp_path)
    other = PPOHintPolicy(
        trained._networks[:1],
        trained._standardiser,
        trained.hint_ids,
        config=trained.config.model_copy(update={"members": 1}),
        seed=2,
    )
    replace = Path.replace

    def cut_off(self: Path, target: Path) -> Path:
        if target.name == "policy.json":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(KeyboardInterrupt):
        other.save(tmp_path)
    assert PPOHintPolicy.load(tmp_path).parameter_hash == trained.parameter_hash


def _weights(folder: Path) -> Path:
    (file,) = folder.glob("weights-*.safetensors")
    return file


def test_broken_files_are_named(trained: PPOHintPolicy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained policy"):
        PPOHintPolicy.load(tmp_path)
    trained.save(tmp_path)
    weights, description = _weights(tmp_path), tmp_path / "policy.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    with pytest.raises(InputError, match="hash") as caught:
        PPOHintPolicy.load(tmp_path)
    assert caught.value.file == weights
    weights.unlink()
    with pytest.raises(InputError, match="weights cannot be read"):
        PPOHintPolicy.load(tmp_path)
    weights.write_bytes(whole)

    document = json.loads(description.read_text())
    for change, field in (
        ({"state_dim": 0}, "state_dim"),
        ({"config": {"iterations": 0}}, "config.iterations"),
        ({"config": {"hidden_sizes": [0]}}, "config.hidden_sizes"),
        ({"surprise": 1}, "surprise"),
        ({"format": "agentrec-ppo-policy-9"}, "format"),
        ({"weights_sha256": "../../etc"}, "weights_sha256"),
    ):
        description.write_text(json.dumps({**document, **change}))
        with pytest.raises(InputError) as caught:
            PPOHintPolicy.load(tmp_path)
        assert (caught.value.file, caught.value.field) == (description, field)
    description.write_text("{")
    with pytest.raises(InputError, match="JSON"):
        PPOHintPolicy.load(tmp_path)


def test_a_description_that_does_not_fit_the_weights_is_named(
    trained: PPOHintPolicy, tmp_path: Path
) -> None:
    trained.save(tmp_path)
    description = tmp_path / "policy.json"
    document = json.loads(description.read_text())
    config = document["config"]
    for change, says in (
        ({"state_dim": 13}, r"\[12\]; the policy needs \[13\]"),
        ({"hint_ids": document["hint_ids"][1:]}, r"\[6, 16\]; the policy needs \[5, 16\]"),
        ({"config": {**config, "hidden_sizes": [17]}}, r"the policy needs \[17, 8\]"),
        ({"config": {**config, "members": 3}}, "missing"),
        ({"config": {**config, "members": 1}}, "does not have"),
    ):
        description.write_text(json.dumps({**document, **change}))
        with pytest.raises(InputError, match=says):
            PPOHintPolicy.load(tmp_path)


@pytest.mark.parametrize("change", ["nan", "double", "flat"])
def test_weights_that_are_no_weights_are_named(
    trained: PPOHintPolicy, tmp_path: Path, change: str
) -> None:
    trained.save(tmp_path)
    description, tensors, _ = read_policy(tmp_path)
    name = "standardiser.projection"
    changed = {
        "nan": tensors[name] * float("nan"),
        "double": tensors[name].double(),
        "flat": tensors[name].flatten(),
    }[change]
    plain = PolicyDescription(
        config=description.config,
        hint_ids=description.hint_ids,
        state_dim=description.state_dim,
        seed=description.seed,
    )
    write_policy(tmp_path, plain, {**tensors, name: changed})
    with pytest.raises(InputError) as caught:
        PPOHintPolicy.load(tmp_path)
    assert caught.value.field == name
