"""Trains a PPO hint policy on a table of rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agentrec.policies.ppo.iterate_selection import BestIterate
from agentrec.policies.ppo.loss import ppo_loss
from agentrec.policies.ppo.network import ActorCritic
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.categorical_policy import PPOHintPolicy
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.ppo.rollout import Rollout, collect_rollout
from agentrec.policies.ppo.standardiser import Standardiser
from agentrec.policies.ppo.training_curve import CurvePoint

# Adam's usual epsilon in PPO: the gradients of a settled policy are small enough for it to matter.
_ADAM_EPSILON = 1e-5
# Keeps the seeds of an ensemble's members apart from those of runs with neighbouring seeds.
_MEMBER_STRIDE = 1_000_003


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained policy and how it came about.

    Attributes:
        policy: Greedy; the selected iterate where there was validation, the last one otherwise.
        curve: One point for each iteration of each member.
    """

    policy: PPOHintPolicy
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, eq=False)
class _Task:
    """Features ``[num_sessions, num_features]`` and gains ``[num_sessions, num_options]``."""

    features: torch.Tensor
    gains: torch.Tensor


class PPOTrainer:
    """PPO on a contextual bandit whose rewards are all known beforehand.

    Each iteration samples an action for every training session, looks its reward up, and takes
    several epochs of clipped policy steps. Training never touches the global random state.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: a bandit rather than an episodic process (no chain between sessions); rewards from a
    complete table instead of calls to the model; an iterate is chosen on validation sessions.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
    """

    def __init__(self, config: PPOConfig | None = None) -> None:
        self.config = config or PPOConfig()

    def fit(
        self,
        states: npt.NDArray[np.float32],
        table: RewardTable,
        seed: int,
        valid_states: npt.NDArray[np.float32] | None = None,
        valid_table: RewardTable | None = None,
        on_progress: Callable[[CurvePoint], None] | None = None,
    ) -> TrainingResult:
        """Train a policy.

        Args:
            states: Encoded training sessions, shape ``[num_sessions, state_dim]``, at least one.
            table: Their rewards, rows in the same order.
            seed: Same seed, data, configuration and machine: same parameters.
            valid_states: Encoded validation sessions, shape ``[num_valid, state_dim]``, at least
                one; only used to choose among iterates.
            valid_table: Their rewards, for the same hints in any order.
            on_progress: Called after each iteration of each member, ``iterations * members``
                times; what it raises ends the training.

        Raises:
            ValueError: Shapes do not fit each other, or only half of the validation was given.
        """
        if (valid_states is None) != (valid_table is None):
            raise ValueError("valid_states and valid_table go together; only one was given")
        _check_rows(states, table, "states")
        standardiser = Standardiser.fit(states, self.config.max_components)
        train = _Task(standardiser(states), torch.tensor(table.gains))
        valid: _Task | None = None
        if valid_states is not None and valid_table is not None:
            _check_rows(valid_states, valid_table, "valid_states")
            gains = valid_table.with_hints(table.hint_ids).gains
            valid = _Task(standardiser(valid_states), torch.tensor(gains))

        networks: list[ActorCritic] = []
        curve: list[CurvePoint] = []
        for member in range(self.config.members):
            network, points = self._fit_member(train, valid, member, seed, on_progress)
            networks.append(network)
            curve.extend(points)
        policy = PPOHintPolicy(
            networks, standardiser, table.hint_ids, config=self.config, seed=seed, curve=curve
        )
        return TrainingResult(policy, tuple(curve))

    def _fit_member(
        self,
        train: _Task,
        valid: _Task | None,
        member: int,
        seed: int,
        on_progress: Callable[[CurvePoint], None] | None,
    ) -> tuple[ActorCritic, list[CurvePoint]]:
        config = self.config
        generator = torch.Generator().manual_seed(seed + member * _MEMBER_STRIDE)
        network = ActorCritic(
            train.features.shape[1], train.gains.shape[1], config.hidden_sizes, generator
        )
        optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            eps=_ADAM_EPSILON,
            weight_decay=config.weight_decay,
            fused=True,
        )
        rollout_size = len(train.features) * config.samples_per_session
        steps = config.iterations * config.epochs * -(-rollout_size // config.minibatch_size)
        decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
        best = BestIterate(config.selection_window)
        points: list[CurvePoint] = []
        for iteration in range(config.iterations):
            rollout = collect_rollout(
                network,
                train.features,
                train.gains,
                samples_per_session=config.samples_per_session,
                normalise=config.normalise_advantages,
                generator=generator,
            )
            self._improve(network, rollout, optimiser, decay, generator)
            train_gain, entropy = _greedy_gain_and_entropy(network, train)
            valid_gain: float | None = None
            if valid is not None and (iteration + 1) % config.validate_every == 0:
                valid_gain, _ = _greedy_gain_and_entropy(network, valid)
                best.offer(network, iteration, valid_gain)
            points.append(
                CurvePoint(
                    member=member,
                    iteration=iteration,
                    sampled_gain=float(rollout.rewards.mean()),
                    train_gain=train_gain,
                    entropy=entropy,
                    valid_gain=valid_gain,
                )
            )
            if on_progress is not None:
                on_progress(points[-1])
        best.restore(network)
        selected = config.iterations - 1 if best.iteration is None else best.iteration
        points[selected] = points[selected].model_copy(update={"selected": True})
        return network, points

    def _improve(
        self,
        network: ActorCritic,
        rollout: Rollout,
        optimiser: torch.optim.Optimizer,
        decay: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
    ) -> None:
        """Several epochs of minibatch steps on one rollout."""
        config = self.config
        parameters = list(network.parameters())
        for _ in range(config.epochs):
            order = torch.randperm(len(rollout.actions), generator=generator)
            for start in range(0, len(order), config.minibatch_size):
                batch = order[start : start + config.minibatch_size]
                features = rollout.features[batch]
                loss = ppo_loss(
                    network.logits(features),
                    network.values(features),
                    rollout.actions[batch],
                    rollout.log_probabilities[batch],
                    rollout.advantages[batch],
                    rollout.rewards[batch],
                    clip=config.clip,
                    value_weight=config.value_weight,
                    entropy_weight=config.entropy_weight,
                )
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
                optimiser.step()
                decay.step()


@torch.no_grad()
def _greedy_gain_and_entropy(network: ActorCritic, task: _Task) -> tuple[float, float]:
    """Mean gain of the greedy policy and mean entropy in nats on the sessions of ``task``."""
    log_probabilities = torch.log_softmax(network.logits(task.features), dim=-1)
    chosen = log_probabilities.argmax(dim=-1, keepdim=True)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    return float(task.gains.gather(1, chosen).mean()), float(entropy.mean())


def _check_rows(states: npt.NDArray[np.float32], table: RewardTable, name: str) -> None:
    """Refuse states that are not one row for each row of the table."""
    if states.ndim != 2 or len(states) != len(table.session_ids) or len(states) == 0:
        raise ValueError(
            f"{name} have shape {list(states.shape)}; the reward table needs "
            f"[{len(table.session_ids)}, state_dim], with at least one session"
        )
    if not bool(np.isfinite(states).all()):
        raise ValueError(f"{name} hold a value that is not finite")
