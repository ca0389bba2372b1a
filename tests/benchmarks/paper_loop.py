"""The paper's training loop, written plainly: one session a step. What ours is timed against."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from agentrec.hint_offers import RewardedOffer


@dataclass(frozen=True)
class PaperSettings:
    """The published values; how many rollouts there are is not published.

    Source: Re2LLM (arXiv 2403.16427), implementation details.
    """

    rollouts: int = 30
    epochs: int = 10
    minibatch_size: int = 32
    clip: float = 0.05
    learning_rate: float = 3e-4
    entropy_weight: float = 0.01
    value_weight: float = 0.5
    gradient_clip: float = 0.5


@dataclass(frozen=True, eq=False)
class TimedTraining:
    """How a training went.

    Attributes:
        seconds: Since the beginning, at the end of each rollout, its evaluation included.
        valid_gains: Mean gain of the greedy policy on the validation sessions after each.
    """

    seconds: tuple[float, ...]
    valid_gains: tuple[float, ...]

    def seconds_until(self, level: float) -> float | None:
        """When the greedy policy first gained so much, ``None`` if it never did."""
        for seconds, gain in zip(self.seconds, self.valid_gains, strict=True):
            if gain >= level:
                return seconds
        return None

    @property
    def seconds_per_rollout(self) -> float:
        """Everything shared out among the rollouts, preparations too."""
        return self.seconds[-1] / len(self.seconds)


class ActorCritic(nn.Module):
    """Two hidden layers of 64, tanh, orthogonal initialisation, nothing shared."""

    def __init__(self, state_dim: int, num_options: int) -> None:
        super().__init__()
        self.actor = _tanh_network(state_dim, num_options, last_gain=0.01)
        self.critic = _tanh_network(state_dim, 1, last_gain=1.0)


def train_one_session_a_step(
    train: RewardedOffer,
    valid: RewardedOffer,
    seed: int,
    settings: PaperSettings | None = None,
) -> TimedTraining:
    """Train as the paper describes it, on rewards that are known already.

    Every session of an offer is offered the same hints in the same order. Rewards are looked up:
    what the language model takes is no part of any time here.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation; PPO (arXiv 1707.06347).
    Differs: from the paper's code where that cannot learn: the softmax is over the options, and
    the advantage is the session's own reward minus its own value. States and advantages are
    standardised, as for ``PPOConfig.paper()``, and the policy is looked at after each rollout,
    at all validation sessions at once.
    """
    settings = settings or PaperSettings()
    begun = time.perf_counter()
    seconds, gains = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        raw = train.offer.states
        mean, deviation = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
        states = torch.from_numpy((raw - mean) / deviation)
        valid_states = torch.from_numpy((valid.offer.states - mean) / deviation)
        rewards, valid_rewards = torch.from_numpy(train.rewards), torch.from_numpy(valid.rewards)
        agent = ActorCritic(states.shape[1], rewards.shape[1])
        optimiser = torch.optim.Adam(agent.parameters(), lr=settings.learning_rate, eps=1e-5)
        for rollout in range(settings.rollouts):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * (1 - rollout / settings.rollouts)
            experience = _act(agent, states, rewards)
            _learn(agent, optimiser, experience, settings)
            with torch.no_grad():
                chosen = agent.actor(valid_states).argmax(dim=1, keepdim=True)
            gains.append(float(valid_rewards.gather(1, chosen).mean()))
            seconds.append(time.perf_counter() - begun)
    return TimedTraining(tuple(seconds), tuple(gains))


@dataclass(frozen=True, eq=False)
class _Experience:
    """One step a session: ``states`` is ``[num_steps, state_dim]``, all else ``[num_steps]``."""

    states: torch.Tensor
    actions: torch.Tensor
    log_probabilities: torch.Tensor
    rewards: torch.Tensor
    values: torch.Tensor


@torch.no_grad()
def _act(agent: ActorCritic, states: torch.Tensor, rewards: torch.Tensor) -> _Experience:
    """Sample a hint for one session after another and look its reward up."""
    order = torch.randperm(len(states))
    actions, log_probabilities, brought, values = [], [], [], []
    for row in order.tolist():
        state = states[row]
        options = Categorical(logits=agent.actor(state), validate_args=False)
        action = options.sample()
        actions.append(action)
        log_probabilities.append(options.log_prob(action))
        brought.append(rewards[row, action])
        values.append(agent.critic(state).squeeze(-1))
    return _Experience(
        states[order],
        torch.stack(actions),
        torch.stack(log_probabilities),
        torch.stack(brought),
        torch.stack(values),
    )


def _learn(
    agent: ActorCritic,
    optimiser: torch.optim.Optimizer,
    experience: _Experience,
    settings: PaperSettings,
) -> None:
    """Epochs of minibatches of the clipped objective on one rollout."""
    advantages = experience.rewards - experience.values
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(advantages)).split(settings.minibatch_size):
            state, advantage = experience.states[batch], advantages[batch]
            options = Categorical(logits=agent.actor(state), validate_args=False)
            taken = options.log_prob(experience.actions[batch])
            ratio = (taken - experience.log_probabilities[batch]).exp()
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            policy_loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
            values = agent.critic(state).squeeze(-1)
            value_loss = (values - experience.rewards[batch]).square().mean()
            entropy = options.entropy().mean()
            loss = (
                policy_loss + settings.value_weight * value_loss - settings.entropy_weight * entropy
            )
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(agent.parameters(), settings.gradient_clip)
            optimiser.step()


def _tanh_network(wide_in: int, wide_out: int, last_gain: float) -> nn.Sequential:
    layers = [nn.Linear(wide_in, 64), nn.Linear(64, 64), nn.Linear(64, wide_out)]
    for layer, gain in zip(layers, (2**0.5, 2**0.5, last_gain), strict=True):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
