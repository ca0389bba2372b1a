from math import exp, log

import pytest
import torch

from agentrec.policies.ppo.loss import ppo_loss


def _loss(
    *, logit: float, old: float, advantage: float, value: float = 0.0, reward: float = 0.0,
    clip: float = 0.2, value_weight: float = 0.0, entropy_weight: float = 0.0,
) -> float:  # fmt: skip
    """Two options, action 1 taken; ``logit`` of option 1 against 0 of option 0."""
    return ppo_loss(
        torch.tensor([[[0.0, logit]]]),
        torch.tensor([[value]]),
        torch.tensor([[1]]),
        torch.tensor([[old]]),
        torch.tensor([[advantage]]),
        torch.tensor([[reward]]),
        clip=clip,
        value_weight=value_weight,
        entropy_weight=entropy_weight,
    ).item()


# With logit log(3) the action has probability 3/4; against 1/2 in the rollout the ratio is 1.5.
def test_a_good_action_is_credited_up_to_the_clip() -> None:
    assert _loss(logit=log(3), old=log(0.5), advantage=2.0) == pytest.approx(-1.2 * 2)
    assert _loss(logit=log(3), old=log(0.7), advantage=2.0) == pytest.approx(-0.75 / 0.7 * 2)


def test_a_bad_action_is_blamed_beyond_the_clip() -> None:
    assert _loss(logit=log(3), old=log(0.5), advantage=-2.0) == pytest.approx(1.5 * 2)


def test_a_bad_action_already_avoided_is_clipped() -> None:
    assert _loss(logit=-log(3), old=log(0.5), advantage=-2.0) == pytest.approx(0.8 * 2)


def test_the_critic_is_measured_against_the_sessions_own_reward() -> None:
    loss = _loss(logit=0.0, old=log(0.5), advantage=0.0, value=0.2, reward=-0.3, value_weight=0.5)
    assert loss == pytest.approx(0.5 * 0.25)


def test_entropy_is_in_nats_over_the_options() -> None:
    entropy = -(0.75 * log(0.75) + 0.25 * log(0.25))
    loss = _loss(logit=log(3), old=log(0.75), advantage=0.0, entropy_weight=0.1)
    assert loss == pytest.approx(-0.1 * entropy, rel=1e-5)


def test_a_minibatch_is_averaged_and_the_softmax_runs_over_the_options() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0], [2.0, 0.0, 0.0]]])
    chance = [exp(2) / (1 + exp(1) + exp(2)), exp(2) / (exp(2) + 2)]
    loss = ppo_loss(
        logits, torch.zeros(1, 2), torch.tensor([[2, 0]]), torch.tensor([[-1.0, -1.0]]),
        torch.tensor([[0.5, -0.25]]), torch.zeros(1, 2),
        clip=0.99, value_weight=0.0, entropy_weight=0.0,
    )  # fmt: skip
    expected = -(min(chance[0] * exp(1), 1.99) * 0.5 + chance[1] * exp(1) * -0.25) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_networks_side_by_side_are_summed_and_an_option_not_allowed_counts_nothing() -> None:
    alone = _loss(logit=log(3), old=log(0.7), advantage=2.0, entropy_weight=0.1)
    logits = torch.tensor([[[0.0, log(3), float("-inf")]]] * 2, requires_grad=True)
    both = ppo_loss(
        logits, torch.zeros(2, 1), torch.tensor([[1], [1]]), torch.full((2, 1), log(0.7)),
        torch.full((2, 1), 2.0), torch.zeros(2, 1),
        clip=0.2, value_weight=0.0, entropy_weight=0.1,
    )  # fmt: skip
    assert both.item() == pytest.approx(2 * alone)
    both.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
