"""Hint policies that linear contextual bandits learn: LinUCB and Thompson sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.hint_offers import HintChoices, HintOffer, choose_best, masked
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.standardiser import StateFeatures

_NUMBERS_AT_ONCE = 4_000_000


class LinearBanditConfig(BaseModel):
    """Hyper-parameters of a linear bandit.

    The defaults were chosen on planted rewards as noisy as real ones (20 hints, 1,000 to 3,000
    sessions).

    Attributes:
        ridge: Weight of the prior "a hint brings nothing", above 0. Larger: slower to believe.
        exploration: LinUCB: how many deviations of optimism (``alpha`` in the paper); Thompson
            sampling: deviation of the draws (``v``). Both in units of reward, at least 0. Larger:
            more is tried, less of what is known is used while training; 0: greedy from the start.
        max_components: Principal components of the training states that are looked at, at least
            1. Fewer: faster to learn from few sessions; more: finer distinctions.
        epochs: Passes over the training sessions, at least 1. In a second pass a session may
            reveal another hint's reward: more is learnt from a table than real users would tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ridge: float = Field(default=30.0, gt=0)
    exploration: float = Field(default=0.6, ge=0)
    max_components: int = Field(default=16, ge=1)
    epochs: int = Field(default=1, ge=1)


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    config: LinearBanditConfig
    hint_ids: tuple[str, ...]


class LinUCBPolicy(PolicyOnDisk):
    """Gives the hint with the best expected reward, and none where none is expected above 0.

    Scores are expected rewards. A hint that was not there in training is expected to bring 0 and
    therefore never given: the hints of a disjoint model share nothing a new one could inherit.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1.
    Differs: acts without optimism, once trained; no hint is an arm known to bring 0.

    Args:
        features: From raw states to those of the regressions.
        posterior: What was learnt of each hint.
        config: What it was trained with.
    """

    kind: ClassVar[str] = "linucb"

    def __init__(
        self, features: StateFeatures, posterior: LinearPosterior, config: LinearBanditConfig
    ) -> None:
        self.config = config
        self._features = features
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
        means = self._posterior.mean_of(offer, self._features.with_constant(offer.states))
        return np.concatenate([np.zeros((len(offer), 1), np.float32), means], axis=1)

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember."""
        tensors = {"means": self._posterior.means, "inverses": self._posterior.inverses}
        description = _Description(config=self.config, hint_ids=self.hint_ids)
        return description, tensors | self._features.tensors("states")

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read."""
        description = stored.described_as(_Description)
        features = StateFeatures.taken_from(stored, "states")
        hints, width = len(description.hint_ids), 1 + features.num_features
        posterior = LinearPosterior(
            description.hint_ids,
            stored.take("means", (hints, width)),
            stored.take("inverses", (hints, width, width)),
            description.config.ridge,
        )
        stored.refuse_other_tensors()
        return cls(features, posterior, description.config)


class ThompsonPolicy(LinUCBPolicy):
    """As ``LinUCBPolicy``, from rewards that Thompson sampling revealed.

    Source: Thompson sampling with linear payoffs (arXiv 1209.3352), Algorithm 1.
    Differs: each hint has weights of its own; acts by the mean, once trained, unless ``exploring``.
    """

    kind: ClassVar[str] = "thompson"

    def exploring(self, seed: int, draws: int = 200) -> ExploringThompson:
        """The same knowledge, acting by draws from it.

        Args:
            seed: Of the draws.
            draws: Beliefs drawn for each session, one of which decides, at least 1.
        """
        return ExploringThompson(self, seed, draws)

    def drawn(
        self, offer: HintOffer, draws: int, generator: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """The option that is best under each of some drawn beliefs, ``[batch, draws]``."""
        features = self._features.with_constant(offer.states)
        means = self._posterior.mean_of(offer, features)
        spreads = self._posterior.spread_of(offer, features) * np.float32(self.config.exploration)
        options = np.zeros((len(offer), draws), dtype=np.int64)
        if not offer.width:
            return options
        # One belief decides for all sessions at once only in theory: what a session sees of it,
        # one number a hint, is normal and independent between hints, so that is what is drawn.
        step = max(1, _NUMBERS_AT_ONCE // (draws * offer.width))
        for start in range(0, len(offer), step):
            part = slice(start, start + step)
            shape = (len(means[part]), draws, offer.width)
            believed = generator.standard_normal(shape, dtype=np.float32)
            believed = means[part, None] + spreads[part, None] * believed
            believed = np.where(offer.present[part, None], believed, -np.inf)
            options[part] = np.where(believed.max(axis=-1) > 0, 1 + believed.argmax(axis=-1), 0)
        return options


class ExploringThompson:
    """Draws some beliefs for each session and acts by one of them.

    The probability of an option is its share among the session's draws, and that is exactly how
    likely it was to be chosen given these, so that log-probabilities may serve as propensities;
    an option that no drawn belief favours has probability 0. Draws advance one generator.

    Args:
        policy: What is known.
        seed: Same seed, same calls: same choices.
        draws: Beliefs a session, at least 1. More: closer to the probabilities of Thompson
            sampling itself, in proportion slower.

    Raises:
        ValueError: If ``draws`` is below 1.
    """

    def __init__(self, policy: ThompsonPolicy, seed: int, draws: int) -> None:
        if draws < 1:
            raise ValueError(f"draws are at least 1, not {draws}")
        self._policy = policy
        self._draws = draws
        self._generator = np.random.default_rng(seed)

    def choose(self, offer: HintOffer) -> HintChoices:
        """Draw a choice for each session; scores are the shares of the draws."""
        drawn = self._policy.drawn(offer, self._draws, self._generator)
        # Draws are alike and independent: the first decides as well as one picked among them.
        options = drawn[:, 0]
        rows = np.arange(len(offer))
        shares = np.stack([(drawn == at).mean(axis=1) for at in range(1 + offer.width)], axis=1)
        expected = self._policy.expected(offer)
        return HintChoices(
            offer,
            options,
            np.log(shares[rows, options]).astype(np.float32),
            (shares * np.where(masked(offer, expected) > -np.inf, expected, 0)).sum(
                axis=1, dtype=np.float32
            ),
            masked(offer, shares.astype(np.float32)),
        )


@dataclass(frozen=True, eq=False)
class LinearPosterior:
    """Weights of each hint and how sure they are; the hints share nothing.

    A hint that was never observed has weights of 0 and the widest doubt.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1: ``A_a`` and ``b_a``.
    Differs: kept as the mean and the inverse of ``A_a``, which an observation updates in place of
    being inverted at each step (Sherman and Morrison); the identity is scaled by ``ridge``.

    Attributes:
        hint_ids: The hints.
        means: Their weights, shape ``[num_hints, num_features]``.
        inverses: ``A_a`` inverted, shape ``[num_hints, num_features, num_features]``.
        ridge: Weight of the prior, above 0: so many sessions' worth of "it brings nothing".
    """

    hint_ids: tuple[str, ...]
    means: npt.NDArray[np.floating]
    inverses: npt.NDArray[np.floating]
    ridge: float

    @classmethod
    def prior(cls, hint_ids: Sequence[str], num_features: int, ridge: float) -> Self:
        """Nothing is known yet; double precision, for many updates to come."""
        means = np.zeros((len(hint_ids), num_features))
        inverses = np.tile(np.eye(num_features) / ridge, (len(hint_ids), 1, 1))
        return cls(tuple(hint_ids), means, inverses, ridge)

    def as_float32(self) -> Self:
        """The same in the precision in which it acts and is stored."""
        return type(self)(
            self.hint_ids,
            self.means.astype(np.float32),
            self.inverses.astype(np.float32),
            self.ridge,
        )

    def at(
        self, hints: npt.NDArray[np.int64], features: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """Mean and spread of what some hints bring to one session.

        Args:
            hints: Places in ``hint_ids``, shape ``[some]``.
            features: Of the session, shape ``[num_features]``.

        Returns:
            Both of shape ``[some]``; the spread is in units of the noise of one reward.
        """
        variances = (self.inverses[hints] @ features) @ features
        return self.means[hints] @ features, np.sqrt(np.maximum(variances, 0))

    def observe(self, hint: int, features: npt.NDArray[np.floating], reward: float) -> None:
        """Learn, in place, what one hint brought to one session."""
        direction = self.inverses[hint] @ features
        size = 1 + features @ direction
        self.means[hint] += direction * ((reward - self.means[hint] @ features) / size)
        self.inverses[hint] -= np.outer(direction, direction) / size

    def mean_of(
        self, offer: HintOffer, features: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Expected reward of every candidate, ``[batch, width]``; something where there is none.

        Args:
            offer: What is on offer.
            features: Of its sessions, shape ``[batch, num_features]``.
        """
        means = np.zeros((1 + len(offer.hints), features.shape[1]), dtype=np.float32)
        known = self._known(offer)
        means[list(known)] = self.means[list(known.values())]
        return _of_candidates(features @ means.T, offer)

    def spread_of(
        self, offer: HintOffer, features: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """How unsure the expected rewards are, in units of the noise; as ``mean_of``."""
        norms = np.square(features).sum(axis=1) / np.float32(self.ridge)
        variances = np.tile(norms[:, None], (1, 1 + len(offer.hints)))
        for place, hint in self._known(offer).items():
            variances[:, place] = ((features @ self.inverses[hint]) * features).sum(axis=1)
        return _of_candidates(np.sqrt(np.maximum(variances, 0)), offer)

    def _known(self, offer: HintOffer) -> dict[int, int]:
        """From the places of an offer's hints to their places here."""
        here = {hint_id: at for at, hint_id in enumerate(self.hint_ids)}
        return {at: here[one] for at, one in enumerate(offer.hint_ids) if one in here}


def _of_candidates(of_hints: npt.NDArray[np.float32], offer: HintOffer) -> npt.NDArray[np.float32]:
    """From ``[batch, num_hints + 1]``, the last for "no candidate", to ``[batch, width]``."""
    chosen: npt.NDArray[np.float32] = of_hints[np.arange(len(offer))[:, None], offer.candidates]
    return chosen
