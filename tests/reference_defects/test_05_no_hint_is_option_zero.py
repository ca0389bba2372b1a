"""05: the knowledge base is shuffled at the end, so that "no hint" need not be action 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentrec.hint_offers import HintOffer, RewardedOffer
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import PPOTrainer
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.planted_sessions import PlantedRewards

SHUFFLED = (3, 0, 4, 2, 1)


def shuffled_offer(world: PlantedRewards) -> HintOffer:
    """The same hints to the same sessions, listed in another order."""
    hints = [world.hints[index] for index in SHUFFLED]
    return HintOffer.of_all(world.states, hints, world.vectors[list(SHUFFLED)], world.states)


def test_05_a_shuffled_knowledge_base_changes_no_choice(
    trained: PPOHintPolicy, held_out_world: PlantedRewards
) -> None:
    plain = trained.choose(held_out_world.offer())
    shuffled = trained.choose(shuffled_offer(held_out_world))
    assert shuffled.hint_ids == plain.hint_ids
    assert not np.array_equal(shuffled.options, plain.options)
    no_hint = np.array([hint_id is None for hint_id in plain.hint_ids])
    assert no_hint.any()
    assert np.array_equal(plain.options == 0, no_hint)
    assert np.array_equal(shuffled.options == 0, no_hint)


def test_05_rewards_go_with_their_hints_in_whatever_order_these_are_listed(
    held_out_world: PlantedRewards, tmp_path: Path
) -> None:
    table = RewardTable(held_out_world.session_ids, held_out_world.hint_ids, held_out_world.ndcg)
    table.save(tmp_path / "rewards.parquet")
    read = RewardTable.load(tmp_path / "rewards.parquet")
    for offer in (held_out_world.offer(), shuffled_offer(held_out_world)):
        rewarded = read.rewarded(offer)
        assert not rewarded.rewards[:, 0].any()
        for column, hint_id in enumerate(offer.hint_ids, start=1):
            own = 1 + held_out_world.hint_ids.index(hint_id)
            gains = held_out_world.ndcg[:, own] - held_out_world.ndcg[:, 0]
            assert np.allclose(rewarded.rewards[:, column], gains)


def test_05_no_hint_is_chosen_where_every_hint_harms_however_they_are_listed(
    trainer_type: type[PPOTrainer], train_world: PlantedRewards, quick: PPOConfig
) -> None:
    some = train_world.between(0, 100)
    offer = some.offer()
    rewards = np.full((len(offer), 1 + offer.width), -0.2, dtype=np.float32)
    rewards[:, 0] = 0
    policy = trainer_type(quick.model_copy(update={"iterations": 40})).fit(
        RewardedOffer(offer, rewards)
    )
    for same in (offer, shuffled_offer(some)):
        chosen = policy.choose(same).hint_ids
        assert chosen.count(None) > 0.95 * len(chosen)


def test_05_a_first_column_that_is_a_hint_is_refused(held_out_world: PlantedRewards) -> None:
    rewards = held_out_world.rewarded().rewards[:, [1, 0, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match="the reward of no hint must be 0"):
        RewardedOffer(held_out_world.offer(), rewards)
