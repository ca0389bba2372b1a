from collections.abc import Callable

import numpy as np
import pytest
import torch

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.trainer import PPOTrainer, TrainingResult
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.ppo.training_curve import CurvePoint
from agentrec.testing.planted_rewards import PlantedRewards, planted_rewards

TableOf = Callable[[PlantedRewards], RewardTable]
QUICK = PPOConfig(iterations=4, hidden_sizes=(8,))


def test_the_same_seed_gives_the_same_parameters_and_the_global_generator_is_left_alone(
    small_world: PlantedRewards, table_of: TableOf
) -> None:
    before = torch.get_rng_state()
    table = table_of(small_world)
    first = PPOTrainer(QUICK).fit(small_world.states, table, 5)
    torch.manual_seed(99)
    second = PPOTrainer(QUICK).fit(small_world.states, table, 5)
    other = PPOTrainer(QUICK).fit(small_world.states, table, 6)
    assert first.policy.parameter_hash == second.policy.parameter_hash
    assert first.curve == second.curve
    assert other.policy.parameter_hash != first.policy.parameter_hash
    torch.set_rng_state(before)
    PPOTrainer(QUICK).fit(small_world.states, table, 5)
    assert torch.equal(before, torch.get_rng_state())


def test_the_curve_has_a_point_for_each_iteration_and_one_selected_for_each_member(
    small_result: TrainingResult, small_config: PPOConfig
) -> None:
    places = [(point.member, point.iteration) for point in small_result.curve]
    iterations = range(small_config.iterations)
    assert places == [(member, at) for member in range(2) for at in iterations]
    assert [sum(p.selected for p in small_result.curve if p.member == m) for m in (0, 1)] == [1, 1]
    assert small_result.policy.curve == small_result.curve
    assert all(point.valid_gain is not None for point in small_result.curve)


def test_validation_only_chooses_among_iterates(
    small_world: PlantedRewards, table_of: TableOf
) -> None:
    train, valid = small_world.between(0, 250), small_world.between(250, 300)
    config = PPOConfig(iterations=20, selection_window=1, hidden_sizes=(8,))
    alone = PPOTrainer(config).fit(train.states, table_of(train), 0)
    chosen = PPOTrainer(config).fit(train.states, table_of(train), 0, valid.states, table_of(valid))
    assert [p.sampled_gain for p in alone.curve] == [p.sampled_gain for p in chosen.curve]
    best = max(p.valid_gain for p in chosen.curve if p.valid_gain is not None)
    (selected,) = [p for p in chosen.curve if p.selected]
    assert selected.valid_gain == best
    greedy = [one.hint_id for one in chosen.policy.choose(valid.states, valid.hints)]
    columns = [0 if one is None else 1 + valid.hint_ids.index(one) for one in greedy]
    measured = table_of(valid).gains[np.arange(len(columns)), columns].mean()
    assert measured == pytest.approx(best, abs=1e-6)
    assert alone.curve[-1].selected


def test_the_validation_table_may_list_the_hints_in_another_order(
    small_world: PlantedRewards, table_of: TableOf
) -> None:
    train, valid = small_world.between(0, 250), small_world.between(250, 300)
    table = table_of(valid)
    turned = table.with_hints(table.hint_ids[::-1])
    straight = PPOTrainer(QUICK).fit(train.states, table_of(train), 0, valid.states, table)
    reversed_ = PPOTrainer(QUICK).fit(train.states, table_of(train), 0, valid.states, turned)
    assert straight.curve == reversed_.curve


def test_progress_is_told_as_it_happens_and_can_stop_the_training(
    small_world: PlantedRewards, table_of: TableOf
) -> None:
    told: list[CurvePoint] = []
    result = PPOTrainer(QUICK).fit(
        small_world.states, table_of(small_world), 0, on_progress=told.append
    )
    assert [p.sampled_gain for p in told] == [p.sampled_gain for p in result.curve]

    def stop(point: CurvePoint) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PPOTrainer(QUICK).fit(small_world.states, table_of(small_world), 0, on_progress=stop)


def test_what_does_not_fit_together_is_refused(
    small_world: PlantedRewards, table_of: TableOf
) -> None:
    states, table = small_world.states, table_of(small_world)
    trainer = PPOTrainer(QUICK)
    with pytest.raises(ValueError, match=r"\[300, state_dim\]"):
        trainer.fit(states[:10], table, 0)
    with pytest.raises(ValueError, match="at least one session"):
        trainer.fit(states[:0], table.with_sessions(()), 0)
    with pytest.raises(ValueError, match="go together"):
        trainer.fit(states, table, 0, valid_states=states)
    with pytest.raises(ValueError, match="12 dimensions"):
        trainer.fit(states, table, 0, states[:, :4], table)
    with pytest.raises(ValueError, match="no hint"):
        trainer.fit(states, table, 0, states, table.with_hints(table.hint_ids[1:]))
    with pytest.raises(ValueError, match="finite"):
        trainer.fit(states * np.float32("nan"), table, 0)


def test_without_hints_the_policy_says_no_hint(table_of: TableOf) -> None:
    world = planted_rewards(20, 0, 3, signal=1.0, noise=1.0, seed=0)
    policy = PPOTrainer(QUICK).fit(world.states, table_of(world), 0).policy
    assert {one.hint_id for one in policy.choose(world.states, ())} == {None}


def test_the_papers_values_are_at_hand_and_train(
    small_world: PlantedRewards, table_of: TableOf
) -> None:
    paper = PPOConfig.paper()
    assert (paper.clip, paper.epochs, paper.minibatch_size) == (0.05, 10, 32)
    assert (paper.entropy_weight, paper.gradient_clip) == (0.01, 0.5)
    assert (paper.learning_rate, paper.hidden_sizes) == (3e-4, (64, 64))
    short = paper.model_copy(update={"iterations": 3})
    result = PPOTrainer(short).fit(small_world.states, table_of(small_world), 0)
    assert result.curve[-1].sampled_gain > result.curve[0].sampled_gain
