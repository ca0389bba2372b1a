"""03: a bandit is treated as an episode that chains unrelated sessions."""

from __future__ import annotations

import pytest
import torch

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.loss import ppo_loss
from agentrec.policies.ppo.networks import ActorCritics, HintFeatures, OfferTensors
from agentrec.policies.ppo.rollout import Rollout, collect_rollout
from agentrec.policies.standardiser import Standardiser
from agentrec.testing.planted_sessions import PlantedRewards

SESSIONS = 40


def networks_and_situations(world: PlantedRewards) -> tuple[ActorCritics, OfferTensors]:
    """Untrained networks and the first sessions as they see them."""
    offer = world.between(0, SESSIONS).offer()
    hints = HintFeatures.fit(offer.hint_ids, offer.vectors, 4)
    situations = OfferTensors.of(offer, Standardiser.fit(offer.states, None), hints)
    networks = ActorCritics(
        "categorical",
        situations.features.shape[-1],
        situations.hint_features.shape[-1],
        len(offer.hints),
        PPOConfig(hidden_sizes=(8,)),
        [torch.Generator().manual_seed(0)],
    )
    return networks, situations


def rolled_out(world: PlantedRewards, gains: torch.Tensor, *, normalise: bool) -> Rollout:
    return collect_rollout(
        *networks_and_situations(world),
        gains,
        samples_per_session=2,
        normalise=normalise,
        generators=[torch.Generator().manual_seed(1)],
    )


def measured(world: PlantedRewards) -> torch.Tensor:
    return torch.from_numpy(world.between(0, SESSIONS).rewarded().rewards)


def test_03_an_advantage_is_the_sessions_own_reward_minus_its_own_value(
    train_world: PlantedRewards,
) -> None:
    rollout = rolled_out(train_world, measured(train_world), normalise=False)
    networks, situations = networks_and_situations(train_world)
    with torch.no_grad():
        values = networks.values(situations)[:, rollout.sessions]
    assert torch.allclose(rollout.advantages, rollout.rewards - values, atol=1e-6)
    # Were it a chain, the last session alone would have no successor.
    assert rollout.advantages[0, -1].item() == pytest.approx(
        (rollout.rewards - values)[0, -1].item(), abs=1e-6
    )


def test_03_normalising_only_shifts_and_scales_a_whole_rollout(
    train_world: PlantedRewards,
) -> None:
    plain = rolled_out(train_world, measured(train_world), normalise=False).advantages[0]
    scaled = rolled_out(train_world, measured(train_world), normalise=True).advantages[0]
    assert torch.allclose(scaled, (plain - plain.mean()) / plain.std(correction=0), atol=1e-4)


def test_03_what_other_sessions_bring_changes_no_advantage(train_world: PlantedRewards) -> None:
    gains = measured(train_world)
    changed = gains.clone()
    changed[SESSIONS // 2 :] = -gains[SESSIONS // 2 :].flip(0)
    before = rolled_out(train_world, gains, normalise=False)
    after = rolled_out(train_world, changed, normalise=False)
    assert torch.equal(before.actions, after.actions)
    assert torch.equal(before.advantages[:, :SESSIONS], after.advantages[:, :SESSIONS])
    assert not torch.equal(before.advantages, after.advantages)


def test_03_the_critic_is_taught_the_sessions_own_reward() -> None:
    rewards = torch.tensor([[0.5, -0.2, 0.0]])
    values = torch.tensor([[0.5, 0.0, 0.3]], requires_grad=True)
    loss = ppo_loss(
        torch.zeros(1, 3, 2),
        values,
        torch.zeros(1, 3, dtype=torch.int64),
        torch.full((1, 3), 0.5).log(),
        # Advantages of a chain would move the critic too, had it the sum of both for a target.
        torch.tensor([[9.0, -9.0, 9.0]]),
        rewards,
        clip=0.2,
        value_weight=1.0,
        entropy_weight=0.0,
    )
    (slope,) = torch.autograd.grad(loss, values)
    assert torch.allclose(slope, 2 * (values.detach() - rewards) / 3)
