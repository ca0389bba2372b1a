"""Trains PPO hint policies on rewards that were measured beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from agentrec.policies.hint_policies.value_regression import ValueRegressionTrainer
from agentrec.policies.ppo.config import CurvePoint, PPOConfig
from agentrec.policies.ppo.networks import ActorCritics, ActorName
from agentrec.policies.ppo.offer_tensors import HintFeatures, Situations
from agentrec.policies.ppo.policy import CategoricalPPOPolicy, PPOHintPolicy, ScoringPPOPolicy
from agentrec.policies.ppo.rollout import Learner, collect_rollout
from agentrec.policies.ppo.training_state import BestIterates, TrainingState, training_of
from agentrec.policies.standardiser import Standardiser
from agentrec.policies.training_data import check_training
from agentrec.rewarded_offers import RewardedOffer

# Keeps the seeds of an ensemble's members apart from those of runs with neighbouring seeds.
_MEMBER_STRIDE = 1_000_003


@dataclass(frozen=True, eq=False)
class _Task:
    """Sessions, and the reward of every option, ``[num_sessions, 1 + width]``."""

    situations: Situations
    rewards: torch.Tensor


class PPOTrainer:
    """PPO on a contextual bandit whose rewards are all known beforehand.

    Each iteration samples actions for every training session, looks their rewards up, and takes
    several epochs of clipped policy steps. Several seeds are trained side by side in one batched
    computation. Training never touches the global random state.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: a bandit rather than an episodic process (no chain between sessions); rewards from a
    table instead of calls to the model; an iterate is chosen on validation sessions.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
        checkpoint: Folder in which a training that is stopped is found again; ``None`` for none.
            What lies there of another training is replaced.
        checkpoint_every: Iterations between two states written there, at least 1.
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
        stopped and went on from its checkpoint.
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
            valid: Validation sessions; only used to choose among iterates.
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
            [train.offer.hints[at].hint_id for at in trained],
            train.offer.vectors[trained],
            config.hint_components,
        )
        tasks = [
            None if part is None else self._task(part, standardiser, hints)
            for part in self._completed(train, valid)
        ]
        assert_train = tasks[0]
        if assert_train is None:
            raise ValueError("there is nothing to train on")
        state = self._started(assert_train, hints, seeds)
        training = ""
        if self._checkpoint is not None:
            settings = f"{self.actor} {list(seeds)} {config.model_dump_json()}"
            training = training_of(settings, train, valid)
            state.go_on(self._checkpoint, training)
        while state.iteration < config.iterations:
            self._iterate(state, assert_train, tasks[1])
            if self._checkpoint is not None and state.iteration % self._checkpoint_every == 0:
                state.save(self._checkpoint, training)
            if on_progress is not None:
                on_progress(state.iteration, config.iterations)
        state.best.restore(state.networks)
        return self._policies(state, standardiser, hints, seeds)

    def _completed(
        self, train: RewardedOffer, valid: RewardedOffer | None
    ) -> tuple[RewardedOffer, RewardedOffer | None]:
        """Training and validation with predictions where nobody measured, if that is wanted."""
        if self.config.unmeasured == "leave_out":
            return train, valid
        holes = [
            part is not None and bool((part.offer.present & ~part.measured[:, 1:]).any())
            for part in (train, valid)
        ]
        if not any(holes):
            return train, valid
        model = ValueRegressionTrainer().fit(train)

        def completed(part: RewardedOffer) -> RewardedOffer:
            guessed = np.clip(model.predicted(part.offer), -1, 1)
            there = np.concatenate([np.ones((len(part), 1), bool), part.offer.present], axis=1)
            filled = np.where(part.measured, part.rewards, guessed)
            return RewardedOffer(part.offer, np.where(there, filled, np.nan).astype(np.float32))

        return completed(train), None if valid is None else completed(valid)

    def _task(self, part: RewardedOffer, standardiser: Standardiser, hints: HintFeatures) -> _Task:
        situations = Situations.of(part.offer, standardiser, hints).only(part.measured)
        return _Task(situations, torch.from_numpy(np.nan_to_num(part.rewards)))

    def _started(self, train: _Task, hints: HintFeatures, seeds: Sequence[int]) -> TrainingState:
        config = self.config
        generators = [
            torch.Generator().manual_seed(seed + member * _MEMBER_STRIDE)
            for seed in seeds
            for member in range(config.members)
        ]
        networks = ActorCritics(
            self.actor,
            train.situations.features.shape[-1],
            hints.standardiser.num_features,
            len(hints.hint_ids),
            config,
            generators,
        )
        learner = Learner(networks, config, len(train.situations) * config.samples_per_session)
        best = BestIterates(networks, len(generators), config.selection_window)
        return TrainingState(networks, learner, best, generators)

    def _iterate(self, state: TrainingState, train: _Task, valid: _Task | None) -> None:
        """One rollout, the steps on it, and a look at what came of it."""
        config, networks = self.config, state.networks
        rollout = collect_rollout(
            networks,
            train.situations,
            train.rewards,
            samples_per_session=config.samples_per_session,
            normalise=config.normalise_advantages,
            generators=state.generators,
        )
        state.learner.improve(rollout, train.situations, state.generators)
        train_gains, entropies = _greedy_gains_and_entropies(networks, train)
        valid_gains: list[float | None] = [None] * len(state.generators)
        if valid is not None and (state.iteration + 1) % config.validate_every == 0:
            gains, _ = _greedy_gains_and_entropies(networks, valid)
            state.best.offer(networks, state.iteration, gains)
            valid_gains = list(gains.tolist())
        sampled = rollout.rewards.mean(dim=1).tolist()
        for member, columns in enumerate(
            zip(sampled, train_gains.tolist(), entropies.tolist(), valid_gains, strict=True)
        ):
            sampled_gain, train_gain, entropy, valid_gain = columns
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
        state: TrainingState,
        standardiser: Standardiser,
        hints: HintFeatures,
        seeds: Sequence[int],
    ) -> list[PPOHintPolicy]:
        """One policy a seed, each with its own share of the networks."""
        members = self.config.members
        selected = [
            self.config.iterations - 1 if at < 0 else at for at in state.best.iterations.tolist()
        ]
        policies = []
        for place, seed in enumerate(seeds):
            own = slice(place * members, (place + 1) * members)
            networks = ActorCritics(
                self.actor,
                standardiser.num_features,
                hints.standardiser.num_features,
                len(hints.hint_ids),
                self.config,
                [torch.Generator()] * members,
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
    """Trains the paper's policy: one output a hint."""

    actor = "categorical"
    policy = CategoricalPPOPolicy


class ScoringPPOTrainer(PPOTrainer):
    """Trains the policy that scores a hint by its text, so that hints may change under it."""

    actor = "scoring"
    policy = ScoringPPOPolicy


@torch.no_grad()
def _greedy_gains_and_entropies(
    networks: ActorCritics, task: _Task
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean gain of each greedy policy and mean entropy in nats, ``[num_networks]`` each."""
    log_probabilities = torch.log_softmax(networks.logits(task.situations), dim=-1)
    chosen = log_probabilities.argmax(dim=-1, keepdim=True)
    gained = task.rewards.expand(len(chosen), -1, -1).gather(2, chosen)
    finite = log_probabilities.clamp(min=-1e9)
    entropy = -(log_probabilities.exp() * finite).sum(dim=-1)
    return gained.mean(dim=(1, 2)), entropy.mean(dim=1)
