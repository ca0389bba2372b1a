import numpy as np
import pytest
import torch

from agentrec.hint_offers import HintOffer
from agentrec.hints import Hint
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.networks import ActorCritics, HintFeatures, OfferTensors
from agentrec.policies.ppo.rollout import Rollout, bandit_advantages, collect_rollout
from agentrec.policies.standardiser import Standardiser


def _tensors(num_sessions: int, num_hints: int) -> OfferTensors:
    drawn = np.random.default_rng(1).standard_normal((num_sessions, 3)).astype(np.float32)
    hints = [Hint(text=f"Prefer {number}.") for number in range(num_hints)]
    offer = HintOffer.of_all(drawn, hints, np.eye(num_hints, 4, dtype=np.float32))
    features = HintFeatures.fit(offer.hint_ids, offer.vectors, 2)
    return OfferTensors.of(offer, Standardiser.fit(drawn, None), features)


def _networks(tensors: OfferTensors) -> ActorCritics:
    num_hints = len(tensors.hint_features)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    config = PPOConfig(hidden_sizes=(8,))
    return ActorCritics("categorical", 3, 2, num_hints, config, generators)


def _collect(gains: torch.Tensor, *, samples: int = 1, normalise: bool = False) -> Rollout:
    tensors = _tensors(gains.shape[0], gains.shape[1] - 1)
    return collect_rollout(
        _networks(tensors),
        tensors,
        gains,
        samples_per_session=samples,
        normalise=normalise,
        generators=[torch.Generator().manual_seed(seed) for seed in (2, 3)],
    )


def test_an_advantage_is_the_reward_minus_the_value() -> None:
    rewards, values = torch.tensor([0.5, 0.0, -0.5]), torch.tensor([0.1, 0.2, -0.1])
    advantages = bandit_advantages(rewards, values, normalise=False)
    assert advantages.tolist() == pytest.approx([0.4, -0.2, -0.4])


def test_normalised_advantages_against_numbers_by_hand() -> None:
    advantages = bandit_advantages(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3), normalise=True)
    assert advantages.tolist() == pytest.approx([-1.2247449, 0.0, 1.2247449], abs=1e-6)


def test_each_network_is_normalised_by_itself() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 60.0]])
    both = bandit_advantages(rewards, torch.zeros(2, 3), normalise=True)
    alone = [bandit_advantages(row, torch.zeros(3), normalise=True) for row in rewards]
    assert torch.allclose(both, torch.stack(alone))


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
    assert torch.equal(before.advantages[:, :5], after.advantages[:, :5])
    assert not torch.equal(before.advantages[:, 5:], after.advantages[:, 5:])


def test_each_sample_belongs_to_its_session_and_networks_draw_apart() -> None:
    gains = torch.arange(12.0).reshape(4, 3) / 12
    rollout = _collect(gains, samples=5)
    assert rollout.sessions.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    for actions, rewards in zip(rollout.actions, rollout.rewards, strict=True):
        assert torch.equal(rewards, gains[rollout.sessions, actions])
    assert not torch.equal(rollout.actions[0], rollout.actions[1])


def test_log_probabilities_are_those_of_a_softmax_over_the_options() -> None:
    gains = torch.zeros(6, 4)
    tensors = _tensors(6, 3)
    rollout = _collect(gains)
    with torch.no_grad():
        exponents = _networks(tensors).logits(tensors).exp()
    taken = exponents.gather(2, rollout.actions[..., None]).squeeze(-1)
    assert torch.allclose(rollout.log_probabilities.exp(), taken / exponents.sum(dim=-1))
    assert rollout.log_probabilities.exp().max() < 0.5


def test_what_is_not_allowed_is_never_drawn() -> None:
    tensors = _tensors(200, 3)
    allowed = np.array([True, False, True, False]) & np.ones((200, 1), bool)
    rollout = collect_rollout(
        _networks(tensors),
        tensors.only(allowed),
        torch.zeros(200, 4),
        samples_per_session=4,
        normalise=False,
        generators=[torch.Generator().manual_seed(seed) for seed in (2, 3)],
    )
    assert set(rollout.actions.flatten().tolist()) == {0, 2}
