"""What one pass of the policy over the training sessions yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentrec.policies.ppo.actor_critic import ActorCritics
from agentrec.policies.ppo.situations import Situations


@dataclass(frozen=True, eq=False)
class Rollout:
    """Sampled actions for each session, and what they brought, for each network.

    Attributes:
        sessions: Which training session, shape ``[batch]``.
        actions: Option taken, 0 for no hint, shape ``[num_networks, batch]``.
        log_probabilities: Natural log of the probability it was taken with, same shape.
        rewards: NDCG@10 gain over no hint, -1 to 1, same shape.
        advantages: What the learner is told about each action, same shape.
    """

    sessions: torch.Tensor
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
        rewards: Shape ``[..., batch]``.
        values: The critic's predictions, same shape.
        normalise: Whether to shift to mean 0 and scale to deviation 1, each network by itself.

    Returns:
        Same shape.
    """
    advantages = rewards - values
    if normalise:
        deviation = advantages.std(dim=-1, correction=0, keepdim=True)
        advantages = (advantages - advantages.mean(dim=-1, keepdim=True)) / (deviation + 1e-8)
    return advantages


@torch.no_grad()
def collect_rollout(
    networks: ActorCritics,
    situations: Situations,
    rewards: torch.Tensor,
    *,
    samples_per_session: int,
    normalise: bool,
    generators: Sequence[torch.Generator],
) -> Rollout:
    """Sample actions for every session and look their rewards up.

    Args:
        networks: The policies as they are now.
        situations: The training sessions and what each may choose.
        rewards: Reward of every option, shape ``[num_sessions, 1 + width]``; what stands where an
            option is not allowed is never looked at.
        samples_per_session: Actions sampled for each session, with replacement.
        normalise: Whether to normalise the advantages over the rollout.
        generators: Source of the actions, one a network.

    Returns:
        A rollout with ``batch = num_sessions * samples_per_session``.
    """
    log_probabilities = torch.log_softmax(networks.logits(situations), dim=-1)
    actions = torch.stack(
        [
            torch.multinomial(one.exp(), samples_per_session, replacement=True, generator=source)
            for one, source in zip(log_probabilities, generators, strict=True)
        ]
    )
    count = len(actions)
    brought = rewards.expand(count, -1, -1).gather(2, actions).reshape(count, -1)
    values = networks.values(situations).repeat_interleave(samples_per_session, dim=1)
    return Rollout(
        sessions=torch.arange(len(situations)).repeat_interleave(samples_per_session),
        actions=actions.reshape(count, -1),
        log_probabilities=log_probabilities.gather(2, actions).reshape(count, -1),
        rewards=brought,
        advantages=bandit_advantages(brought, values, normalise=normalise),
    )
