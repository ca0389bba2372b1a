"""The loss PPO descends on."""

from __future__ import annotations

import torch


def ppo_loss(
    logits: torch.Tensor,
    values: torch.Tensor,
    actions: torch.Tensor,
    old_log_probabilities: torch.Tensor,
    advantages: torch.Tensor,
    rewards: torch.Tensor,
    *,
    clip: float,
    value_weight: float,
    entropy_weight: float,
) -> torch.Tensor:
    r"""Clipped surrogate, critic error and entropy bonus, averaged over a minibatch.

    With the ratio :math:`r = \pi(a|s) / \pi_{old}(a|s)` and the advantage :math:`A`, the mean of
    :math:`-\min(r A, \mathrm{clip}(r, 1-\epsilon, 1+\epsilon) A) + c_v (V - R)^2 - c_e H(\pi)`.

    Source: PPO (arXiv 1707.06347), equations 7 and 9; Re2LLM (arXiv 2403.16427), Reinforcement
    Utilisation.
    Differs: the critic's target is the session's own reward, since an episode is one decision.

    Args:
        logits: The actor's, as it is now, shape ``[batch, num_options]``.
        values: The critic's predictions, as it is now, shape ``[batch]``.
        actions: Option taken in the rollout, shape ``[batch]``.
        old_log_probabilities: Of those, at the time of the rollout, shape ``[batch]``.
        advantages: Shape ``[batch]``.
        rewards: Shape ``[batch]``.
        clip: Half-width of the trust region of the ratio.
        value_weight: Weight of the critic's squared error.
        entropy_weight: Weight of the policy's entropy in nats.

    Returns:
        A scalar.
    """
    log_probabilities = torch.log_softmax(logits, dim=-1)
    taken = log_probabilities.gather(1, actions[:, None]).squeeze(1)
    ratio = (taken - old_log_probabilities).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    value_error = (values - rewards) ** 2
    loss: torch.Tensor = (-surrogate + value_weight * value_error - entropy_weight * entropy).mean()
    return loss
