import pytest
import torch

from agentrec.policies.ppo.network import ActorCritic
from agentrec.policies.ppo.rollout import Rollout, bandit_advantages, collect_rollout


def _collect(gains: torch.Tensor, *, samples: int = 1, normalise: bool = False) -> Rollout:
    network = ActorCritic(3, gains.shape[1], (8,), torch.Generator().manual_seed(0))
    features = torch.randn(len(gains), 3, generator=torch.Generator().manual_seed(1))
    return collect_rollout(
        network,
        features,
        gains,
        samples_per_session=samples,
        normalise=normalise,
        generator=torch.Generator().manual_seed(2),
    )


def test_an_advantage_is_the_reward_minus_the_value() -> None:
    rewards, values = torch.tensor([0.5, 0.0, -0.5]), torch.tensor([0.1, 0.2, -0.1])
    advantages = bandit_advantages(rewards, values, normalise=False)
    assert advantages.tolist() == pytest.approx([0.4, -0.2, -0.4])


def test_normalised_advantages_against_numbers_by_hand() -> None:
    advantages = bandit_advantages(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3), normalise=True)
    assert advantages.tolist() == pytest.approx([-1.2247449, 0.0, 1.2247449], abs=1e-6)


def test_equal_advantages_normalise_to_zero() -> None:
    advantages = bandit_advantages(torch.full((4,), 0.3), torch.zeros(4), normalise=True)
    assert advantages.tolist() == pytest.approx([0.0] * 4, abs=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_other_sessions_rewards_in_another_order_leave_an_advantage_alone(normalise: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    rewards = torch.randn(50, generator=generator)
    values = torch.full((50,), 0.1)
    shuffled = rewards.clone()
    shuffled[1:] = rewards[1:][torch.randperm(49, generator=generator)]
    before = bandit_advantages(rewards, values, normalise=normalise)
    after = bandit_advantages(shuffled, values, normalise=normalise)
    assert after[0].item() == pytest.approx(before[0].item(), abs=1e-6)


def test_a_rollout_does_not_chain_sessions() -> None:
    gains = torch.rand(20, 4, generator=torch.Generator().manual_seed(3))
    changed = gains.clone()
    changed[5:] = gains[5:].flip(0) * 0.5
    before, after = _collect(gains), _collect(changed)
    assert torch.equal(before.actions, after.actions)
    assert torch.equal(before.advantages[:5], after.advantages[:5])
    assert not torch.equal(before.advantages[5:], after.advantages[5:])


def test_each_sample_belongs_to_its_session() -> None:
    gains = torch.arange(12.0).reshape(4, 3) / 12
    rollout = _collect(gains, samples=5)
    sessions = torch.arange(4).repeat_interleave(5)
    assert torch.equal(rollout.rewards, gains[sessions, rollout.actions])
    assert torch.equal(rollout.features, rollout.features[::5].repeat_interleave(5, dim=0))


def test_log_probabilities_are_those_of_a_softmax_over_the_options() -> None:
    gains = torch.zeros(6, 4)
    network = ActorCritic(3, 4, (8,), torch.Generator().manual_seed(0))
    rollout = _collect(gains)
    with torch.no_grad():
        exponents = network.logits(rollout.features).exp()
    by_hand = exponents[torch.arange(6), rollout.actions] / exponents.sum(dim=1)
    assert torch.allclose(rollout.log_probabilities.exp(), by_hand)
    assert rollout.log_probabilities.exp().max() < 0.5
