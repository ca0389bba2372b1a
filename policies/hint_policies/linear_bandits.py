"""Hint policies that linear contextual bandits learn: LinUCB and Thompson sampling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer, choose_best, masked
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.standardiser import Standardiser
from agentrec.policies.training_data import align_to_hints, check_training, offered_hint_ids

_Floats = npt.NDArray[np.floating]

_PROGRESS_EVERY = 100


class LinearBanditConfig(BaseModel):
    """Hyper-parameters of a linear bandit.

    The defaults were chosen on planted rewards as noisy as real ones (20 hints, 1,000 to 3,000
    sessions).

    Attributes:
        ridge: Weight of the prior "a hint brings nothing", above 0. Larger: slower to believe.
        exploration: LinUCB: how many deviations of optimism (``alpha`` in the paper); Thompson
            sampling: deviation of the draws (``v``). Both in units of reward, at least 0. Larger:
            more is tried, less of what is known is used while training; 0: greedy from the start.
        max_components: Principal components of the training states to use at most, at least 1.
            Fewer: faster to learn from few sessions; more: finer distinctions.
        epochs: Passes over the training sessions, at least 1. In a second pass a session may
            reveal another hint's reward: more is learnt from a table than from real users.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ridge: float = Field(default=30.0, gt=0)
    exploration: float = Field(default=0.6, ge=0)
    max_components: int = Field(default=16, ge=1)
    epochs: int = Field(default=1, ge=1)


@dataclass(frozen=True, eq=False)
class LinearPosterior:
    """One Bayesian linear regression for each hint; the hints share nothing.

    A hint that was never observed has weights of 0 and the largest uncertainty.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1: ``A_a`` and ``b_a``.
    Differs: kept as the mean and the inverse of ``A_a``, which an observation updates instead of
    inverting it at each step (Sherman and Morrison); the identity is scaled by ``ridge``.

    Attributes:
        hint_ids: The hints.
        means: Their weights, shape ``[num_hints, num_features]``.
        inverses: ``A_a`` inverted, shape ``[num_hints, num_features, num_features]``.
    """

    hint_ids: tuple[str, ...]
    means: _Floats
    inverses: _Floats

    @classmethod
    def prior(cls, hint_ids: Sequence[str], num_features: int, ridge: float) -> Self:
        """Start from the prior; in double precision, for many updates to come."""
        means = np.zeros((len(hint_ids), num_features))
        inverses = np.tile(np.eye(num_features) / ridge, (len(hint_ids), 1, 1))
        return cls(tuple(hint_ids), means, inverses)

    def as_float32(self) -> Self:
        """Return the same in the precision in which it acts and is stored."""
        means, inverses = self.means.astype(np.float32), self.inverses.astype(np.float32)
        return type(self)(self.hint_ids, means, inverses)

    def predict(self, hints: npt.NDArray[np.int64], features: _Floats) -> tuple[_Floats, _Floats]:
        """Predict what some hints bring to one session.

        Args:
            hints: Indices in ``hint_ids``, shape ``[some]``.
            features: Of the session, shape ``[num_features]``.

        Returns:
            Mean and deviation, both of shape ``[some]``; the deviation is in units of the noise of
            one reward.
        """
        variances = (self.inverses[hints] @ features) @ features
        return self.means[hints] @ features, np.sqrt(np.maximum(variances, 0))

    def observe(self, hint: int, features: _Floats, reward: float) -> None:
        """Learn, in place, what one hint brought to one session."""
        direction = self.inverses[hint] @ features
        size = 1 + features @ direction
        self.means[hint] += direction * ((reward - self.means[hint] @ features) / size)
        self.inverses[hint] -= np.outer(direction, direction) / size

    def expected(
        self, offer: HintOffer, features: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Expected reward of every candidate, ``[batch, width]``; any value where there is none.

        Args:
            offer: What is on offer.
            features: Of its sessions, shape ``[batch, num_features]``.
        """
        # The last row is for "no candidate"; a hint that is not known brings 0.
        means = np.zeros((1 + len(offer.hints), features.shape[1]), dtype=np.float32)
        index = {hint_id: at for at, hint_id in enumerate(self.hint_ids)}
        known = {at: index[one] for at, one in enumerate(offer.hint_ids) if one in index}
        means[list(known)] = self.means[list(known.values())]
        rewards = (features @ means.T)[np.arange(len(offer))[:, None], offer.candidates]
        return np.asarray(rewards, dtype=np.float32)


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    config: LinearBanditConfig
    hint_ids: tuple[str, ...]


class LinUCBPolicy(PolicyOnDisk):
    """Gives the hint with the best expected reward, and none where none is expected above 0.

    Scores are expected rewards. A hint that was not there in training is expected to bring 0 and
    is never given: the hints of a disjoint model share nothing that a new one could inherit.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1.
    Differs: acts without optimism, once trained; no hint is an arm known to bring 0.

    Args:
        standardiser: From raw states to features.
        posterior: What was learnt of each hint.
        config: What it was trained with.
    """

    kind: ClassVar[str] = "linucb"

    def __init__(
        self, standardiser: Standardiser, posterior: LinearPosterior, config: LinearBanditConfig
    ) -> None:
        self.config = config
        self._standardiser = standardiser
        self._posterior = posterior.as_float32()

    @property
    def hint_ids(self) -> tuple[str, ...]:
        """The hints that were there in training."""
        return self._posterior.hint_ids

    def choose(self, offer: HintOffer) -> HintChoices:
        """Choose for a batch of sessions, with certainty.

        Raises:
            ValueError: The states are not as wide as the trained ones.
        """
        scores = self.expected(offer)
        return choose_best(offer, scores, masked(offer, scores).max(axis=1))

    def expected(self, offer: HintOffer) -> npt.NDArray[np.float32]:
        """Expected reward of no hint, which is 0, and each candidate, ``[batch, 1 + width]``."""
        rewards = self._posterior.expected(offer, self._standardiser.with_intercept(offer.states))
        return np.concatenate([np.zeros((len(offer), 1), np.float32), rewards], axis=1)

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """See ``PolicyOnDisk``."""
        tensors = {"means": self._posterior.means, "inverses": self._posterior.inverses}
        description = _Description(config=self.config, hint_ids=self.hint_ids)
        return description, tensors | self._standardiser.tensors("states")

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """See ``PolicyOnDisk``."""
        description = stored.parse_description(_Description)
        standardiser = Standardiser.from_stored(stored, "states")
        hints, width = len(description.hint_ids), 1 + standardiser.num_features
        posterior = LinearPosterior(
            description.hint_ids,
            stored.take("means", (hints, width)),
            stored.take("inverses", (hints, width, width)),
        )
        stored.reject_unused_tensors()
        return cls(standardiser, posterior, description.config)


class ThompsonPolicy(LinUCBPolicy):
    """As ``LinUCBPolicy``, from rewards that Thompson sampling revealed.

    Source: Thompson sampling with linear payoffs (arXiv 1209.3352), Algorithm 1.
    Differs: each hint has weights of its own; acts by the mean, once trained.
    """

    kind: ClassVar[str] = "thompson"


Policy = TypeVar("Policy", bound=LinUCBPolicy)


class _LinearBanditTrainer(ABC, Generic[Policy]):
    """Learns what each hint brings from one honest pass over the training sessions.

    Sessions come one by one in a seeded order; each reveals the reward of one option only, the
    one that the bandit would take. Only options whose reward was measured can be taken; no hint is
    known to bring 0 and teaches nothing.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
    """

    _policy: type[Policy]

    def __init__(self, config: LinearBanditConfig | None = None) -> None:
        self.config = config or LinearBanditConfig()

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Policy:
        """Train a policy.

        Args:
            train: Training sessions, at least one.
            valid: Checked and not used: there is nothing to choose.
            seed: Of the order of the sessions, and of the draws.
            on_progress: Called every 100 sessions and at the end.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        check_training(train, valid)
        config = self.config
        generator = np.random.default_rng(seed)
        standardiser = Standardiser.fit(train.offer.states, config.max_components)
        rows = standardiser.with_intercept(train.offer.states).astype(np.float64)
        hint_ids = offered_hint_ids(train.offer)
        rewards = align_to_hints(train.offer, train.rewards[:, 1:], hint_ids)
        posterior = LinearPosterior.prior(hint_ids, rows.shape[1], config.ridge)
        total = config.epochs * len(rows)
        order = np.concatenate([generator.permutation(len(rows)) for _ in range(config.epochs)])
        for done, session in enumerate(order.tolist(), start=1):
            hints = np.flatnonzero(np.isfinite(rewards[session]))
            if len(hints):
                indices = self._indices(*posterior.predict(hints, rows[session]), generator)
                best = int(indices.argmax())
                if indices[best] > 0:
                    hint = int(hints[best])
                    posterior.observe(hint, rows[session], float(rewards[session, hint]))
            if on_progress is not None and (done % _PROGRESS_EVERY == 0 or done == total):
                on_progress(done, total)
        return self._policy(standardiser, posterior, config)

    @abstractmethod
    def _indices(
        self, means: _Floats, deviations: _Floats, generator: np.random.Generator
    ) -> _Floats:
        """Return by what number of each hint the bandit picks one for a session."""


class LinUCBTrainer(_LinearBanditTrainer[LinUCBPolicy]):
    """Lets a session take the hint with the highest upper confidence bound.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1.
    Differs: features are the state's standardised principal components and a constant.
    """

    _policy = LinUCBPolicy

    def _indices(
        self, means: _Floats, deviations: _Floats, generator: np.random.Generator
    ) -> _Floats:
        return means + self.config.exploration * deviations


class ThompsonTrainer(_LinearBanditTrainer[ThompsonPolicy]):
    """Lets a session take the hint that is best under a belief drawn from the posterior.

    Source: Thompson sampling with linear payoffs (arXiv 1209.3352), Algorithm 1.
    Differs: each hint has weights of its own, so that of a belief only one number a hint matters
    to a session, and only that is drawn; the deviation ``v`` is a setting, not the bound of the
    paper's proof, which explores far longer than a few thousand sessions allow.
    """

    _policy = ThompsonPolicy

    def _indices(
        self, means: _Floats, deviations: _Floats, generator: np.random.Generator
    ) -> _Floats:
        draws = generator.standard_normal(len(means))
        return means + self.config.exploration * deviations * draws
