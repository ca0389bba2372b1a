"""What one pass of the policy over the training sessions yields."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agentrec.policies.ppo.network import ActorCritic


@dataclass(frozen=True, eq=False)
class Rollout:
    """One sampled action for each session, and what it brought.

    Attributes:
        features: Standardised states, shape ``[batch, num_features]``.
        actions: Option taken, 0 for no hint, shape ``[batch]``.
        log_probabilities: Natural log of the probability it was taken with, shape ``[batch]``.
        rewards: NDCG@10 gain over no hint, -1 to 1, shape ``[batch]``.
        advantages: What the learner is told about each action, shape ``[batch]``.
    """

    features: torch.Tensor
    actions: torch.Tensor
    log_probabilities: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor


def bandit_advantages(
    rewards: torch.Tensor, values: torch.Tensor, *, normalise: bool
) -> torch.Tensor:
    """How much better each action did than the critic expected.

    Each session is one whole decision problem: the advantage is its own reward minus its own
    value, with no discount, no bootstrapping and no chain to any other session. Normalising
    shifts and scales all of a rollout alike, whatever its order.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation (a contextual bandit).
    Differs: the paper's code runs generalised advantage estimation across unrelated sessions.

    Args:
        rewards: Shape ``[batch]``.
        values: The critic's predictions, shape ``[batch]``.
        normalise: Whether to shift to mean 0 and scale to deviation 1.

    Returns:
        Shape ``[batch]``.
    """
    advantages = rewards - values
    if normalise:
        deviation = advantages.std(correction=0)
        advantages = (advantages - advantages.mean()) / (deviation + 1e-8)
    return advantages


@torch.no_grad()
def collect_rollout(
    network: ActorCritic,
    features: torch.Tensor,
    gains: torch.Tensor,
    *,
    samples_per_session: int,
    normalise: bool,
    generator: torch.Generator,
) -> Rollout:
    """Sample actions for every session and look their rewards up.

    Args:
        network: The policy as it is now.
        features: Shape ``[num_sessions, num_features]``.
        gains: Reward of every option, shape ``[num_sessions, num_options]``.
        samples_per_session: Actions sampled for each session, with replacement.
        normalise: Whether to normalise the advantages over the rollout.
        generator: Source of the actions.

    Returns:
        A rollout with ``batch = num_sessions * samples_per_session``.
    """
    log_probabilities = torch.log_softmax(network.logits(features), dim=-1)
    actions = torch.multinomial(
        log_probabilities.exp(), samples_per_session, replacement=True, generator=generator
    )
    values = network.values(features).repeat_interleave(samples_per_session)
    rewards = gains.gather(1, actions).reshape(-1)
    return Rollout(
        features=features.repeat_interleave(samples_per_session, dim=0),
        actions=actions.reshape(-1),
        log_probabilities=log_probabilities.gather(1, actions).reshape(-1),
        rewards=rewards,
        advantages=bandit_advantages(rewards, values, normalise=normalise),
    )
