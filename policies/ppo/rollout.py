"""One PPO iteration: sample actions for the training sessions, then take steps on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.loss import ppo_loss
from agentrec.policies.ppo.networks import ActorCritics, OfferTensors

# Adam's usual epsilon in PPO: the gradients of a settled policy are small enough for it to matter.
_ADAM_EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class Rollout:
    """Sampled actions of each network, and what they brought.

    Attributes:
        sessions: Index of the training session, ``[batch]``.
        actions: Option taken, 0 for no hint, ``[num_networks, batch]``.
        log_probabilities: Natural log of the probability it was taken with, same shape.
        rewards: NDCG@10 gain over no hint, -1 to 1, same shape.
        advantages: How much better than expected each action did, same shape.
    """

    sessions: torch.Tensor
    actions: torch.Tensor
    log_probabilities: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor


def bandit_advantages(
    rewards: torch.Tensor, values: torch.Tensor, *, normalise: bool
) -> torch.Tensor:
    """Return how much better each action did than the critic expected.

    Each session is a decision problem of its own: the advantage is its reward minus its value,
    without discount, bootstrapping or a chain to other sessions.

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
    offer: OfferTensors,
    rewards: torch.Tensor,
    *,
    samples_per_session: int,
    normalise: bool,
    generators: Sequence[torch.Generator],
) -> Rollout:
    """Sample actions for every session and look up their rewards.

    Args:
        networks: The current policies.
        offer: The training sessions and what each may choose.
        rewards: Reward of every option, ``[num_sessions, 1 + width]``; what stands where an
            option is not allowed is never read.
        samples_per_session: Actions sampled for each session, with replacement.
        normalise: Whether to normalise the advantages over the rollout.
        generators: Source of the actions, one a network.

    Returns:
        A rollout with ``batch = num_sessions * samples_per_session``.
    """
    log_probabilities = torch.log_softmax(networks.logits(offer), dim=-1)
    actions = torch.stack(
        [
            torch.multinomial(one.exp(), samples_per_session, replacement=True, generator=source)
            for one, source in zip(log_probabilities, generators, strict=True)
        ]
    )
    count = len(actions)
    brought = rewards.expand(count, -1, -1).gather(2, actions).reshape(count, -1)
    values = networks.values(offer).repeat_interleave(samples_per_session, dim=1)
    return Rollout(
        sessions=torch.arange(len(offer)).repeat_interleave(samples_per_session),
        actions=actions.reshape(count, -1),
        log_probabilities=log_probabilities.gather(2, actions).reshape(count, -1),
        rewards=brought,
        advantages=bandit_advantages(brought, values, normalise=normalise),
    )


class PPOLearner:
    """Descends on the PPO loss; every network has minibatches and gradient clipping of its own.

    Args:
        networks: What learns.
        config: The hyper-parameters.
        rollout_size: Actions in a rollout; the learning rate falls to 0 over all their steps.
    """

    def __init__(self, networks: ActorCritics, config: PPOConfig, rollout_size: int) -> None:
        self._networks = networks
        self._config = config
        minibatches = -(-rollout_size // config.minibatch_size)
        self._steps = config.iterations * config.epochs * minibatches
        self.steps_taken = 0
        self.optimiser = torch.optim.AdamW(
            networks.parameters(),
            lr=config.learning_rate,
            eps=_ADAM_EPSILON,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def update(
        self, rollout: Rollout, offer: OfferTensors, generators: Sequence[torch.Generator]
    ) -> None:
        """Take minibatch steps on one rollout, for several epochs.

        Args:
            rollout: The rollout.
            offer: The training sessions it comes from.
            generators: Source of the order of each network's minibatches.
        """
        size, minibatch = rollout.actions.shape[1], self._config.minibatch_size
        for _ in range(self._config.epochs):
            orders = torch.stack([torch.randperm(size, generator=one) for one in generators])
            for start in range(0, size, minibatch):
                self._step(rollout, offer, orders[:, start : start + minibatch])

    def _step(self, rollout: Rollout, offer: OfferTensors, batch: torch.Tensor) -> None:
        config = self._config
        seen = offer.rows(rollout.sessions[batch])
        loss = ppo_loss(
            self._networks.logits(seen),
            self._networks.values(seen),
            rollout.actions.gather(1, batch),
            rollout.log_probabilities.gather(1, batch),
            rollout.advantages.gather(1, batch),
            rollout.rewards.gather(1, batch),
            clip=config.clip,
            value_weight=config.value_weight,
            entropy_weight=config.entropy_weight,
        )
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        clip_gradients_per_network(list(self._networks.parameters()), config.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - self.steps_taken / self._steps)
        self.optimiser.step()
        self.steps_taken += 1


@torch.no_grad()
def clip_gradients_per_network(parameters: Sequence[torch.nn.Parameter], largest: float) -> None:
    """Scale each network's gradient down to a norm of ``largest``, independent of the others.

    Args:
        parameters: All of shape ``[num_networks, ...]``, with gradients.
        largest: The largest norm, above 0.
    """
    gradients = [one.grad for one in parameters if one.grad is not None]
    squares = torch.stack([one.flatten(1).square().sum(dim=1) for one in gradients])
    factors = (largest / (squares.sum(dim=0).sqrt() + 1e-6)).clamp(max=1.0)
    for one in gradients:
        one.mul_(factors.view(-1, *[1] * (one.ndim - 1)))
