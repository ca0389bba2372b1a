"""How LinUCB and Thompson sampling learn: session by session, from the rewards they ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from agentrec.policies.hint_policies.linear_bandits import (
    LinearBanditConfig,
    LinearPosterior,
    LinUCBPolicy,
    ThompsonPolicy,
)
from agentrec.policies.standardiser import StateFeatures
from agentrec.policies.training_data import by_hint, check_training, offered_ids
from agentrec.rewarded_offers import RewardedOffer

Made = TypeVar("Made", bound=LinUCBPolicy)

_PROGRESS_EVERY = 100


class _LinearBanditTrainer(ABC, Generic[Made]):
    """Learns what each hint brings from one honest pass over the training sessions.

    Sessions come one by one in a seeded order; each reveals the reward of one option only, the
    one that looks best to the kind of bandit. Only options whose reward was measured are looked
    at; no hint is known to bring 0 and teaches nothing.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
    """

    _made: type[Made]
    """The policy that comes out."""

    def __init__(self, config: LinearBanditConfig | None = None) -> None:
        self.config = config or LinearBanditConfig()

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Made:
        """Train a policy.

        Args:
            train: Training sessions, at least one.
            valid: Checked and not used: there is nothing to pick.
            seed: Of the order of the sessions, and of the draws.
            on_progress: Called every 100 sessions and at the end.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        check_training(train, valid)
        features, posterior = self._pass(train, seed, on_progress)
        return self._made(features, posterior, self.config)

    @abstractmethod
    def _looks(
        self,
        means: npt.NDArray[np.floating],
        spreads: npt.NDArray[np.floating],
        generator: np.random.Generator,
    ) -> npt.NDArray[np.floating]:
        """How good some hints look to one session while training."""

    def _pass(
        self,
        train: RewardedOffer,
        seed: int,
        on_progress: Callable[[int, int], None] | None,
    ) -> tuple[StateFeatures, LinearPosterior]:
        config = self.config
        generator = np.random.default_rng(seed)
        features = StateFeatures.fit(train.offer.states, config.max_components)
        rows = features.with_constant(train.offer.states).astype(np.float64)
        hint_ids = offered_ids(train.offer)
        rewards = by_hint(train.offer, train.rewards[:, 1:], hint_ids)
        posterior = LinearPosterior.prior(hint_ids, rows.shape[1], config.ridge)
        total = config.epochs * len(rows)
        order = np.concatenate([generator.permutation(len(rows)) for _ in range(config.epochs)])
        for done, session in enumerate(order.tolist(), start=1):
            hints = np.flatnonzero(np.isfinite(rewards[session]))
            if len(hints):
                looks = self._looks(*posterior.at(hints, rows[session]), generator)
                best = int(looks.argmax())
                if looks[best] > 0:
                    hint = int(hints[best])
                    posterior.observe(hint, rows[session], float(rewards[session, hint]))
            if on_progress is not None and (done % _PROGRESS_EVERY == 0 or done == total):
                on_progress(done, total)
        return features, posterior


class LinUCBTrainer(_LinearBanditTrainer[LinUCBPolicy]):
    """Makes a session choose what looks best with an optimistic allowance for what is not known.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1.
    Differs: features are the state's standardised principal components and a constant.
    """

    _made = LinUCBPolicy

    def _looks(
        self,
        means: npt.NDArray[np.floating],
        spreads: npt.NDArray[np.floating],
        generator: np.random.Generator,
    ) -> npt.NDArray[np.floating]:
        return means + self.config.exploration * spreads


class ThompsonTrainer(_LinearBanditTrainer[ThompsonPolicy]):
    """Makes a session choose what looks best under a belief that was drawn.

    Source: Thompson sampling with linear payoffs (arXiv 1209.3352), Algorithm 1.
    Differs: each hint has weights of its own, so what a session sees of a belief is drawn as one
    number a hint; the deviation ``v`` is a setting, not the bound of the paper's proof, which
    explores far longer than a few thousand sessions allow.
    """

    _made = ThompsonPolicy

    def _looks(
        self,
        means: npt.NDArray[np.floating],
        spreads: npt.NDArray[np.floating],
        generator: np.random.Generator,
    ) -> npt.NDArray[np.floating]:
        return means + self.config.exploration * spreads * generator.standard_normal(len(means))
