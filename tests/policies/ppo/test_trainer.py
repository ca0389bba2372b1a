from pathlib import Path

import numpy as np
import pytest
import torch

from agentrec.hint_offers import RewardedOffer
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.rollout import clip_gradients_per_network
from agentrec.policies.ppo.trainer import PPOTrainer
from agentrec.testing.hint_policy_trainer_conformance import HintPolicyTrainerConformance
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards

QUICK = PPOConfig(iterations=4, hidden_sizes=(8,), latent_size=4)


class TestPPOTrainerContract(HintPolicyTrainerConformance):
    @pytest.fixture
    def trainer(self, trainer_type: type[PPOTrainer]) -> PPOTrainer:
        return trainer_type(QUICK)


@pytest.fixture
def train(small_world: PlantedRewards) -> RewardedOffer:
    return small_world.between(0, 250).rewarded()


@pytest.fixture
def valid(small_world: PlantedRewards) -> RewardedOffer:
    return small_world.between(250, 300).rewarded()


def _sparse(part: RewardedOffer, share: float) -> RewardedOffer:
    gone = np.random.default_rng(0).random(part.rewards.shape) > share
    gone[:, 0] = False
    return RewardedOffer(part.offer, np.where(gone, np.float32(np.nan), part.rewards))


def test_the_same_seed_gives_the_same_parameters_twice(
    trainer_type: type[PPOTrainer], train: RewardedOffer, valid: RewardedOffer
) -> None:
    before = torch.get_rng_state()
    first = trainer_type(QUICK).fit(train, valid, seed=5)
    torch.manual_seed(99)
    second = trainer_type(QUICK).fit(train, valid, seed=5)
    other = trainer_type(QUICK).fit(train, valid, seed=6)
    assert first.parameter_hash == second.parameter_hash
    assert first.curve == second.curve
    assert other.parameter_hash != first.parameter_hash
    torch.set_rng_state(before)
    trainer_type(QUICK).fit(train, valid, seed=5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("stopped_after", [1, 2, 3, 5])
def test_stopped_in_the_middle_it_comes_to_the_same_parameters(
    trainer_type: type[PPOTrainer],
    train: RewardedOffer,
    valid: RewardedOffer,
    tmp_path: Path,
    stopped_after: int,
) -> None:
    config = QUICK.model_copy(update={"iterations": 6, "members": 2, "selection_window": 2})
    whole = trainer_type(config).fit(train, valid, seed=5)
    told: list[int] = []

    def stop(done: int, total: int) -> None:
        if done == stopped_after:
            raise KeyboardInterrupt

    def watch(done: int, total: int) -> None:
        told.append(done)

    trainer = trainer_type(config, checkpoint=tmp_path / "state", checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, valid, seed=5, on_progress=stop)
    resumed = trainer.fit(train, valid, seed=5, on_progress=watch)
    assert resumed.parameter_hash == whole.parameter_hash
    assert resumed.curve == whole.curve
    assert told == list(range(2 * (stopped_after // 2) + 1, 7))


def test_what_is_left_of_another_training_is_not_taken_up(
    trainer_type: type[PPOTrainer], train: RewardedOffer, valid: RewardedOffer, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    trainer_type(QUICK, checkpoint=folder, checkpoint_every=1).fit(train, valid, seed=5)
    changed = RewardedOffer(train.offer, train.rewards * np.float32(0.5))
    for data, seed in ((changed, 5), (train, 6)):
        alone = trainer_type(QUICK).fit(data, valid, seed=seed)
        beside = trainer_type(QUICK, checkpoint=folder).fit(data, valid, seed=seed)
        assert beside.parameter_hash == alone.parameter_hash
    (folder / "policy.json").write_text("{")
    broken = trainer_type(QUICK, checkpoint=folder).fit(train, valid, seed=5)
    assert broken.parameter_hash == trainer_type(QUICK).fit(train, valid, seed=5).parameter_hash


def test_seeds_trained_at_once_are_what_they_are_alone(
    trainer_type: type[PPOTrainer], train: RewardedOffer, valid: RewardedOffer
) -> None:
    together = trainer_type(QUICK).fit_seeds(train, valid, seeds=[3, 4])
    for seed, policy in zip((3, 4), together, strict=True):
        alone = trainer_type(QUICK).fit(train, valid, seed=seed)
        assert policy.seed == seed
        assert [p.iteration for p in policy.curve] == [p.iteration for p in alone.curve]
        assert {p.member for p in policy.curve} == {0}
        # Batched products may be rounded in another order.
        assert np.allclose(
            policy.probabilities(valid.offer), alone.probabilities(valid.offer), atol=1e-4
        )


def test_the_curve_has_a_point_for_each_iteration_and_one_selected_for_each_member(
    trained: PPOHintPolicy, small_config: PPOConfig
) -> None:
    places = {(point.member, point.iteration) for point in trained.curve}
    iterations = range(small_config.iterations)
    assert places == {(member, at) for member in range(2) for at in iterations}
    assert len(trained.curve) == len(places)
    for member in (0, 1):
        assert sum(p.selected for p in trained.curve if p.member == member) == 1
    assert all(point.valid_gain is not None for point in trained.curve)


def test_validation_only_chooses_among_iterates(
    trainer_type: type[PPOTrainer], train: RewardedOffer, valid: RewardedOffer
) -> None:
    config = PPOConfig(iterations=20, selection_window=1, hidden_sizes=(8,), latent_size=4)
    alone = trainer_type(config).fit(train)
    chosen = trainer_type(config).fit(train, valid)
    assert [p.sampled_gain for p in alone.curve] == [p.sampled_gain for p in chosen.curve]
    best = max(p.valid_gain for p in chosen.curve if p.valid_gain is not None)
    (selected,) = [p for p in chosen.curve if p.selected]
    assert selected.valid_gain == best
    assert valid.gained(chosen.choose(valid.offer)).mean() == pytest.approx(best, abs=1e-6)
    assert alone.curve[-1].selected


@pytest.fixture(scope="module")
def wide_world() -> PlantedRewards:
    return planted_rewards(1300, 6, 12, signal=1.0, noise=0.2, seed=5)


def _gained(trainer: PPOTrainer, part: RewardedOffer, test: PlantedRewards) -> float:
    policy = trainer.fit(part)
    return float(test.gains_of(policy.choose(test.offer()).hint_ids).mean())


@pytest.fixture(scope="module")
def gained_by_all(trainer_type: type[PPOTrainer], wide_world: PlantedRewards) -> float:
    """What is gained where every reward was measured."""
    trainer = trainer_type(PPOConfig(iterations=25, learning_rate=1e-3))
    whole = wide_world.between(0, 500).rewarded()
    return _gained(trainer, whole, wide_world.between(500, 1300))


@pytest.mark.parametrize("unmeasured", ["predict", "leave_out"])
def test_half_of_the_rewards_teach_nearly_as_much(
    trainer_type: type[PPOTrainer],
    wide_world: PlantedRewards,
    gained_by_all: float,
    unmeasured: str,
) -> None:
    config = PPOConfig(unmeasured=unmeasured, iterations=25, learning_rate=1e-3)
    half, test = _sparse(wide_world.between(0, 500).rewarded(), 0.5), wide_world.between(500, 1300)
    gained = _gained(trainer_type(config), half, test)
    assert gained > 0.85 * gained_by_all > 0.5 * test.optimal_gain


def test_progress_is_told_as_it_happens_and_can_stop_the_training(
    trainer_type: type[PPOTrainer], train: RewardedOffer
) -> None:
    told: list[tuple[int, int]] = []
    trainer_type(QUICK).fit(train, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_does_not_fit_together_is_refused(
    trainer_type: type[PPOTrainer], train: RewardedOffer, small_world: PlantedRewards
) -> None:
    narrow = small_world.states[250:, :4]
    with pytest.raises(ValueError, match="no training session"):
        trainer_type(QUICK).fit(train.rows([]))
    valid = small_world.between(250, 300).rewarded()
    other = RewardedOffer(valid.offer.with_states(narrow), valid.rewards)
    with pytest.raises(ValueError, match="12"):
        trainer_type(QUICK).fit(train, other)


def test_without_hints_the_policy_says_no_hint(trainer_type: type[PPOTrainer]) -> None:
    world = planted_rewards(20, 0, 3, signal=1.0, noise=1.0, seed=0)
    policy = trainer_type(QUICK).fit(world.rewarded())
    assert set(policy.choose(world.offer()).hint_ids) == {None}


def test_the_papers_values_are_at_hand_and_train(
    trainer_type: type[PPOTrainer], train: RewardedOffer
) -> None:
    paper = PPOConfig.paper()
    assert (paper.clip, paper.epochs, paper.minibatch_size) == (0.05, 10, 32)
    assert (paper.entropy_weight, paper.gradient_clip) == (0.01, 0.5)
    assert (paper.learning_rate, paper.hidden_sizes) == (3e-4, (64, 64))
    short = paper.model_copy(update={"iterations": 3})
    curve = trainer_type(short).fit(train).curve
    assert curve[-1].train_gain > curve[0].train_gain


def test_each_networks_gradient_is_clipped_by_itself() -> None:
    drawn = torch.Generator().manual_seed(0)
    shapes = ((3, 4, 2), (3, 1, 5))
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    scales = torch.tensor([0.01, 1.0, 10.0]).view(3, 1, 1)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=drawn) * scales
    expected = []
    for network in range(3):
        own = [torch.nn.Parameter(torch.zeros(shape[1:])) for shape in shapes]
        for one, parameter in zip(own, parameters, strict=True):
            assert parameter.grad is not None
            one.grad = parameter.grad[network].clone()
        torch.nn.utils.clip_grad_norm_(own, 0.5)
        expected.append([one.grad for one in own])
    clip_gradients_per_network(parameters, 0.5)
    for network, gradients in enumerate(expected):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            assert parameter.grad is not None
            assert gradient is not None
            assert torch.allclose(parameter.grad[network], gradient, atol=1e-6)
