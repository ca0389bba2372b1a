"""Gradient steps on a rollout, for several networks at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agentrec.policies.ppo.actor_critic import ActorCritics
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.loss import ppo_loss
from agentrec.policies.ppo.rollout import Rollout
from agentrec.policies.ppo.situations import Situations

# Adam's usual epsilon in PPO: the gradients of a settled policy are small enough for it to matter.
_ADAM_EPSILON = 1e-5


class Learner:
    """Descends on the PPO loss; every network has its own minibatches and its own clipping.

    Args:
        networks: What learns.
        config: The hyper-parameters.
        rollout_size: Actions in a rollout: how many steps there will be decides the decay of
            the learning rate.
    """

    def __init__(self, networks: ActorCritics, config: PPOConfig, rollout_size: int) -> None:
        self._networks = networks
        self._config = config
        minibatches = -(-rollout_size // config.minibatch_size)
        self._steps = config.iterations * config.epochs * minibatches
        self.taken = 0
        self.optimiser = torch.optim.AdamW(
            networks.parameters(),
            lr=config.learning_rate,
            eps=_ADAM_EPSILON,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def improve(
        self, rollout: Rollout, situations: Situations, generators: Sequence[torch.Generator]
    ) -> None:
        """Several epochs of minibatch steps on one rollout.

        Args:
            rollout: The rollout.
            situations: The training sessions it is of.
            generators: Source of the order of each network's minibatches.
        """
        config = self._config
        size = rollout.actions.shape[1]
        for _ in range(config.epochs):
            orders = torch.stack([torch.randperm(size, generator=one) for one in generators])
            for start in range(0, size, config.minibatch_size):
                self._step(rollout, situations, orders[:, start : start + config.minibatch_size])

    def _step(self, rollout: Rollout, situations: Situations, batch: torch.Tensor) -> None:
        config = self._config
        seen = situations.rows(rollout.sessions[batch])
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
        clip_each(list(self._networks.parameters()), config.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - self.taken / self._steps)
        self.optimiser.step()
        self.taken += 1


@torch.no_grad()
def clip_each(parameters: Sequence[torch.nn.Parameter], largest: float) -> None:
    """Scale each network's gradient down to a norm of ``largest``, the others' left alone.

    Args:
        parameters: All of shape ``[num_networks, ...]``, with gradients.
        largest: The largest norm, above 0.
    """
    gradients = [one.grad for one in parameters if one.grad is not None]
    squares = torch.stack([one.flatten(1).square().sum(dim=1) for one in gradients])
    factors = (largest / (squares.sum(dim=0).sqrt() + 1e-6)).clamp(max=1.0)
    for one in gradients:
        one.mul_(factors.view(-1, *[1] * (one.ndim - 1)))
