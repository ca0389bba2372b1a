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
    r"""Clipped surrogate, critic error and entropy bonus, averaged over each minibatch.

    Networks side by side have minibatches of their own and share no weight, so that the gradient
    of the sum of their losses is the gradient of each.

    With the ratio :math:`r = \pi(a|s) / \pi_{old}(a|s)` and the advantage :math:`A`, the mean of
    :math:`-\min(r A, \mathrm{clip}(r, 1-\epsilon, 1+\epsilon) A) + c_v (V - R)^2 - c_e H(\pi)`.

    Source: PPO (arXiv 1707.06347), equations 7 and 9; Re2LLM (arXiv 2403.16427), Reinforcement
    Utilisation.
    Differs: the critic's target is the session's own reward, since an episode is one decision.

    Args:
        logits: The actors', as they are now, shape ``[num_networks, batch, num_options]``,
            ``-inf`` where an option may not be chosen.
        values: The critics' predictions, as they are now, shape ``[num_networks, batch]``.
        actions: Option taken in the rollout, same shape as all that follow.
        old_log_probabilities: Of those, at the time of the rollout.
        advantages: How much better than expected each did.
        rewards: What each brought.
        clip: Half-width of the trust region of the ratio.
        value_weight: Weight of the critic's squared error.
        entropy_weight: Weight of the policy's entropy in nats.

    Returns:
        A scalar, the sum over networks.
    """
    log_probabilities = torch.log_softmax(logits, dim=-1)
    taken = log_probabilities.gather(-1, actions[..., None]).squeeze(-1)
    ratio = (taken - old_log_probabilities).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    # An option with probability 0 adds 0 to the entropy; 0 times -inf would be no number.
    entropy = -(log_probabilities.exp() * log_probabilities.clamp(min=-1e9)).sum(dim=-1)
    value_error = (values - rewards) ** 2
    losses = -surrogate + value_weight * value_error - entropy_weight * entropy
    return losses.mean(dim=-1).sum()
