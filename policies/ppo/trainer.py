"""Trains PPO hint policies on rewards that were measured beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from agentrec.hint_offers import RewardedOffer
from agentrec.policies.hint_policies.value_regression import ValueRegressionTrainer
from agentrec.policies.ppo.config import CurvePoint, PPOConfig
from agentrec.policies.ppo.networks import ActorCritics, ActorName, HintFeatures, OfferTensors
from agentrec.policies.ppo.policy import CategoricalPPOPolicy, PPOHintPolicy, ScoringPPOPolicy
from agentrec.policies.ppo.rollout import PPOLearner, collect_rollout
from agentrec.policies.ppo.training_state import (
    BestWeights,
    PPOTrainingState,
    training_fingerprint,
)
from agentrec.policies.standardiser import Standardiser
from agentrec.policies.training_data import check_training

# Keeps the seeds of an ensemble's members apart from those of runs with neighbouring seeds.
_MEMBER_STRIDE = 1_000_003


@dataclass(frozen=True, eq=False)
class _Task:
    """Sessions, and the reward of every option, ``[num_sessions, 1 + width]``."""

    offer: OfferTensors
    rewards: torch.Tensor


class PPOTrainer:
    """PPO on a contextual bandit whose rewards are all known beforehand.

    Each iteration samples actions for every training session, looks up their rewards, and takes
    several epochs of clipped policy steps. Several seeds are trained side by side in one batched
    computation. Training never touches the global random state.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: a bandit, not an episodic process; rewards from a table, not from calls to the model;
    validation sessions choose among the iterations.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
        checkpoint: Folder in which a stopped training is found again; ``None`` for none. A
            checkpoint of another training is replaced.
        checkpoint_every: Iterations between two checkpoints, at least 1.
    """

    actor: ClassVar[ActorName]
    policy: ClassVar[type[PPOHintPolicy]]

    def __init__(
        self,
        config: PPOConfig | None = None,
        checkpoint: Path | None = None,
        checkpoint_every: int = 5,
    ) -> None:
        self.config = config or PPOConfig()
        self._checkpoint = checkpoint
        self._checkpoint_every = checkpoint_every

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> PPOHintPolicy:
        """Train a policy; see ``HintPolicyTrainer.fit``.

        Same seed, data, configuration and machine: same parameters, also where the training was
        stopped and resumed from its checkpoint.
        """
        return self.fit_seeds(train, valid, seeds=[seed], on_progress=on_progress)[0]

    def fit_seeds(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seeds: Sequence[int],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[PPOHintPolicy]:
        """Train a policy for each of several seeds at once.

        Args:
            train: Training sessions.
            valid: Validation sessions; they only choose among the iterations.
            seeds: At least one.
            on_progress: Called with iterations done and in all.

        Raises:
            ValueError: As ``fit``.
        """
        check_training(train, valid)
        config = self.config
        standardiser = Standardiser.fit(train.offer.states, config.max_components)
        trained = np.unique(train.offer.candidates[train.offer.present])
        hints = HintFeatures.fit(
            [train.offer.hints[index].hint_id for index in trained],
            train.offer.vectors[trained],
            config.hint_components,
        )
        full_train, full_valid = self._fill_unmeasured(train, valid)
        train_task = _task(full_train, standardiser, hints)
        valid_task = None if full_valid is None else _task(full_valid, standardiser, hints)
        state = self._initial_state(train_task, hints, seeds)
        fingerprint = ""
        if self._checkpoint is not None:
            settings = f"{self.actor} {list(seeds)} {config.model_dump_json()}"
            fingerprint = training_fingerprint(settings, train, valid)
            state.resume(self._checkpoint, fingerprint)
        while state.iteration < config.iterations:
            self._run_iteration(state, train_task, valid_task)
            if self._checkpoint is not None and state.iteration % self._checkpoint_every == 0:
                state.save(self._checkpoint, fingerprint)
            if on_progress is not None:
                on_progress(state.iteration, config.iterations)
        state.best.copy_to(state.networks)
        return self._policies(state, standardiser, hints, seeds)

    def _fill_unmeasured(
        self, train: RewardedOffer, valid: RewardedOffer | None
    ) -> tuple[RewardedOffer, RewardedOffer | None]:
        """Predict rewards that were not measured, if the configuration says so."""
        parts = [part for part in (train, valid) if part is not None]
        complete = all(bool((~one.offer.present | one.measured[:, 1:]).all()) for one in parts)
        if complete or self.config.unmeasured == "leave_out":
            return train, valid
        model = ValueRegressionTrainer().fit(train)

        def filled(part: RewardedOffer) -> RewardedOffer:
            predicted = np.clip(model.predicted(part.offer), -1, 1)
            there = np.concatenate([np.ones((len(part), 1), bool), part.offer.present], axis=1)
            rewards = np.where(part.measured, part.rewards, predicted)
            return RewardedOffer(part.offer, np.where(there, rewards, np.nan).astype(np.float32))

        return filled(train), None if valid is None else filled(valid)

    def _initial_state(
        self, train: _Task, hints: HintFeatures, seeds: Sequence[int]
    ) -> PPOTrainingState:
        config = self.config
        generators = [
            torch.Generator().manual_seed(seed + member * _MEMBER_STRIDE)
            for seed in seeds
            for member in range(config.members)
        ]
        networks = self._networks(train.offer.features.shape[-1], hints, generators)
        learner = PPOLearner(networks, config, len(train.offer) * config.samples_per_session)
        best = BestWeights(networks, len(generators), config.selection_window)
        return PPOTrainingState(networks, learner, best, generators)

    def _networks(
        self, num_features: int, hints: HintFeatures, generators: Sequence[torch.Generator]
    ) -> ActorCritics:
        hint_features, num_hints = hints.standardiser.num_features, len(hints.hint_ids)
        return ActorCritics(
            self.actor, num_features, hint_features, num_hints, self.config, generators
        )

    def _run_iteration(self, state: PPOTrainingState, train: _Task, valid: _Task | None) -> None:
        """Collect one rollout, take the steps on it, and evaluate."""
        config, networks = self.config, state.networks
        rollout = collect_rollout(
            networks,
            train.offer,
            train.rewards,
            samples_per_session=config.samples_per_session,
            normalise=config.normalise_advantages,
            generators=state.generators,
        )
        state.learner.update(rollout, train.offer, state.generators)
        train_gains, entropies = _greedy_gains_and_entropies(networks, train)
        valid_gains: list[float | None] = [None] * len(state.generators)
        if valid is not None and (state.iteration + 1) % config.validate_every == 0:
            gains, _ = _greedy_gains_and_entropies(networks, valid)
            state.best.update(networks, state.iteration, gains)
            valid_gains = list(gains.tolist())
        sampled = rollout.rewards.mean(dim=1).tolist()
        columns = zip(sampled, train_gains.tolist(), entropies.tolist(), valid_gains, strict=True)
        for member, (sampled_gain, train_gain, entropy, valid_gain) in enumerate(columns):
            state.curve.append(
                CurvePoint(
                    member=member,
                    iteration=state.iteration,
                    sampled_gain=sampled_gain,
                    train_gain=train_gain,
                    entropy=entropy,
                    valid_gain=valid_gain,
                )
            )
        state.iteration += 1

    def _policies(
        self,
        state: PPOTrainingState,
        standardiser: Standardiser,
        hints: HintFeatures,
        seeds: Sequence[int],
    ) -> list[PPOHintPolicy]:
        """Make one policy for each seed, of its own share of the networks."""
        members, last = self.config.members, self.config.iterations - 1
        selected = [last if one < 0 else one for one in state.best.iterations.tolist()]
        policies = []
        for index, seed in enumerate(seeds):
            own = slice(index * members, (index + 1) * members)
            networks = self._networks(
                standardiser.num_features, hints, [torch.Generator()] * members
            )
            networks.load_state_dict(
                {name: one[own].clone() for name, one in state.networks.state_dict().items()}
            )
            curve = [
                point.model_copy(
                    update={
                        "member": point.member - own.start,
                        "selected": point.iteration == selected[point.member],
                    }
                )
                for point in state.curve
                if own.start <= point.member < own.stop
            ]
            policies.append(
                self.policy(
                    networks, standardiser, hints, config=self.config, seed=seed, curve=curve
                )
            )
        return policies


class CategoricalPPOTrainer(PPOTrainer):
    """Trains the paper's policy: one output for each hint."""

    actor = "categorical"
    policy = CategoricalPPOPolicy


class ScoringPPOTrainer(PPOTrainer):
    """Trains the policy that scores hints by their text, so that hints may change under it."""

    actor = "scoring"
    policy = ScoringPPOPolicy


def _task(part: RewardedOffer, standardiser: Standardiser, hints: HintFeatures) -> _Task:
    offer = OfferTensors.of(part.offer, standardiser, hints).only(part.measured)
    return _Task(offer, torch.from_numpy(np.nan_to_num(part.rewards)))


@torch.no_grad()
def _greedy_gains_and_entropies(
    networks: ActorCritics, task: _Task
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean gain of each greedy policy and mean entropy in nats, ``[num_networks]`` each."""
    log_probabilities = torch.log_softmax(networks.logits(task.offer), dim=-1)
    chosen = log_probabilities.argmax(dim=-1, keepdim=True)
    gained = task.rewards.expand(len(chosen), -1, -1).gather(2, chosen)
    finite = log_probabilities.clamp(min=-1e9)
    entropy = -(log_probabilities.exp() * finite).sum(dim=-1)
    return gained.mean(dim=(1, 2)), entropy.mean(dim=1)
