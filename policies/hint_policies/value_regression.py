"""A ridge regression of every hint's reward, and the policy that gives the best predicted hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer, choose_best, masked
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.standardiser import Standardiser
from agentrec.policies.training_data import align_to_hints, check_training, offered_hint_ids

_Matrix = npt.NDArray[np.float64]

_LEAST_SCALE = 1e-6


class ValueRegressionConfig(BaseModel):
    """Hyper-parameters of the value regression.

    Attributes:
        abstain: Whether no hint is given where none is predicted to bring more than 0; if not, the
            hint with the best prediction is always given.
        max_components: Principal components of the training states to use at most, at least
            1. Fewer: less to memorise; more: finer distinctions.
        max_hint_components: The same of the hints' vectors. Each multiplies the number of shared
            weights, and there are only as many hints to learn them from.
        shared_ridges: Weights of the prior "hints bring nothing" to choose from, each above 0.
        own_ridges: Weights of the prior "a hint does what its vector says" to choose from, each
            above 0. Larger: less is learnt about a hint that does not hold for its neighbours.
        folds: Parts of the training sessions, each predicted from the others, by which the two
            are chosen where there are no validation sessions; at least 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    abstain: bool = True
    max_components: int = Field(default=16, ge=1)
    max_hint_components: int = Field(default=8, ge=1)
    shared_ridges: tuple[float, ...] = Field(default=(10.0, 100.0, 1000.0, 10000.0), min_length=1)
    own_ridges: tuple[float, ...] = Field(default=(30.0, 100.0, 300.0, 3000.0), min_length=1)
    folds: int = Field(default=5, ge=2)


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    config: ValueRegressionConfig
    hint_ids: tuple[str, ...]
    shared_ridge: float
    own_ridge: float
    similarity_mean: float
    similarity_scale: float = Field(gt=0)


@dataclass(frozen=True, eq=False)
class PairFeatures:
    """Features of a session and a hint.

    Attributes:
        states: From raw states to their features.
        vectors: From hints' text vectors to their features.
        similarity_mean: Mean cosine over the training candidates.
        similarity_scale: Their deviation, above 0.
    """

    states: Standardiser
    vectors: Standardiser
    similarity_mean: float
    similarity_scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Number of features of a state and of a hint, the constants included."""
        return 1 + self.states.num_features, 1 + self.vectors.num_features

    def of_hints(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Features of hints, ``[num_hints, dimension]`` -> ``[num_hints, hint_features]``."""
        if not len(vectors):
            # Without hints, the length of their vectors is not known.
            return np.zeros((0, self.shape[1]), dtype=np.float32)
        return self.vectors.with_intercept(vectors)

    def of_similarities(self, similarities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Standardised cosines, of any shape."""
        centred = similarities - np.float32(self.similarity_mean)
        return np.asarray(centred / np.float32(self.similarity_scale), dtype=np.float32)


class ValueRegressionPolicy(PolicyOnDisk):
    """Gives the hint with the best predicted reward, and none where none is predicted above 0.

    With features ``x`` of the session and ``v`` of the hint, each with a constant, the prediction
    is ``x W v + own_h x + c similarity``: a shared part, which judges hints of any text, and for
    hints known from training weights of their own, which say how they differ from it.

    Source: LinUCB (arXiv 1003.0146), section 3.2: the hybrid linear model.
    Differs: fitted once to all measured rewards, so there is nothing to explore; the two parts
    have ridges of their own, so that a hint is judged by its own summed only where that is long.

    Args:
        features: From a session and a hint to their features.
        shared: ``W``, float32, shape ``[state_features, hint_features]``.
        similarity_weight: ``c``, float32, shape ``[1]``.
        own: Of every known hint, float32, shape ``[num_hints, state_features]``.
        hint_ids: The known hints.
        config: What it was trained with.
        ridges: The chosen ridge of the shared part and that of the hints' own.
    """

    kind: ClassVar[str] = "value_regression"

    def __init__(
        self,
        features: PairFeatures,
        shared: npt.NDArray[np.float32],
        similarity_weight: npt.NDArray[np.float32],
        own: npt.NDArray[np.float32],
        hint_ids: tuple[str, ...],
        config: ValueRegressionConfig,
        ridges: tuple[float, float],
    ) -> None:
        self.config = config
        self.hint_ids = hint_ids
        self.ridges = ridges
        self._features = features
        self._shared = shared
        self._similarity_weight = similarity_weight
        self._own = own

    def choose(self, offer: HintOffer) -> HintChoices:
        """Choose for a batch of sessions, with certainty; scores are predicted rewards.

        Without ``abstain``, no hint scores less than the worst of all predictions.

        Raises:
            ValueError: States or vectors are not as wide as the trained ones.
        """
        scores = self.predicted(offer)
        if not self.config.abstain and offer.width:
            scores[:, 0] = scores.min(axis=1) - 1
        best = masked(offer, scores).max(axis=1)
        # A session without candidates gets no hint, which is worth 0 whatever it scores.
        return choose_best(offer, scores, np.where(offer.present.any(axis=1), best, np.float32(0)))

    def predicted(self, offer: HintOffer) -> npt.NDArray[np.float32]:
        """The predicted reward of every option, in the units of the training rewards.

        Returns:
            Float32 ``[batch, 1 + width]``; 0 for no hint, column 0, and where there is no
            candidate.

        Raises:
            ValueError: States or vectors are not as wide as the trained ones.
        """
        states = self._features.states.with_intercept(offer.states)
        weights = self._features.of_hints(offer.vectors) @ self._shared.T
        index = {hint_id: at for at, hint_id in enumerate(self.hint_ids)}
        known = [at for at, hint_id in enumerate(offer.hint_ids) if hint_id in index]
        weights[known] += self._own[[index[offer.hint_ids[at]] for at in known]]
        predicted = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
        if not len(weights):
            return predicted
        of_candidates = (states @ weights.T)[np.arange(len(offer))[:, None], offer.candidates]
        of_candidates += self._similarity_weight * self._features.of_similarities(
            offer.similarities
        )
        predicted[:, 1:] = np.where(offer.present, of_candidates, 0)
        return predicted

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """See ``PolicyOnDisk``."""
        features = self._features
        description = _Description(
            config=self.config,
            hint_ids=self.hint_ids,
            shared_ridge=self.ridges[0],
            own_ridge=self.ridges[1],
            similarity_mean=features.similarity_mean,
            similarity_scale=features.similarity_scale,
        )
        tensors = {
            "shared": self._shared,
            "similarity_weight": self._similarity_weight,
            "own": self._own,
        }
        return description, {
            **tensors,
            **features.states.tensors("states"),
            **features.vectors.tensors("vectors"),
        }

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """See ``PolicyOnDisk``."""
        description = stored.parse_description(_Description)
        features = PairFeatures(
            Standardiser.from_stored(stored, "states"),
            Standardiser.from_stored(stored, "vectors"),
            description.similarity_mean,
            description.similarity_scale,
        )
        policy = cls(
            features,
            stored.take("shared", features.shape),
            stored.take("similarity_weight", (1,)),
            stored.take("own", (len(description.hint_ids), features.shape[0])),
            description.hint_ids,
            description.config,
            (description.shared_ridge, description.own_ridge),
        )
        stored.reject_unused_tensors()
        return policy


@dataclass(frozen=True, eq=False)
class _HintStatistics:
    """Sums over the sessions on which one hint was measured: sufficient statistics for a fit."""

    shared: _Matrix
    cross: _Matrix
    own: _Matrix
    shared_rewards: _Matrix
    own_rewards: _Matrix


class ValueRegressionTrainer:
    """Fits a ``ValueRegressionPolicy`` by least squares to every measured reward.

    Every weight is shrunk towards 0: where nothing is known, nothing is expected. The two ridges
    are those with the smallest squared error on the validation sessions; without these, in
    cross-validation on the training sessions.

    Args:
        config: The hyper-parameters; ``None`` for the defaults.
    """

    def __init__(self, config: ValueRegressionConfig | None = None) -> None:
        self.config = config or ValueRegressionConfig()

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> ValueRegressionPolicy:
        """Train a policy.

        Args:
            train: Training sessions, at least one.
            valid: Validation sessions; they only choose the ridges.
            seed: Of the folds, which are used where there is no ``valid``.
            on_progress: Called after each pair of ridges, and at the end.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        check_training(train, valid)
        if valid is not None and valid.offer.vectors.shape[1] != train.offer.vectors.shape[1]:
            raise ValueError("vectors of the validation hints are not as long as in training")
        features = _fit_features(train, self.config)
        hint_ids = offered_hint_ids(train.offer)
        trials = list(_trials(train, valid, self.config.folds, seed))
        statistics = [_statistics(part, hint_ids, features) for part, _ in trials]
        pairs = [
            (shared, own) for shared in self.config.shared_ridges for own in self.config.own_ridges
        ]
        errors = []
        for done, ridges in enumerate(pairs, start=1):
            error = 0.0
            for (_, judged), summed in zip(trials, statistics, strict=True):
                error += _squared_error(self._fitted(summed, features, hint_ids, ridges), judged)
            errors.append(error)
            if on_progress is not None:
                on_progress(done, len(pairs) + 1)
        # Of equal errors the first: where nothing was measured, any will do.
        best = pairs[int(np.argmin(errors))]
        policy = self._fitted(_statistics(train, hint_ids, features), features, hint_ids, best)
        if on_progress is not None:
            on_progress(len(pairs) + 1, len(pairs) + 1)
        return policy

    def _fitted(
        self,
        statistics: Sequence[_HintStatistics],
        features: PairFeatures,
        hint_ids: tuple[str, ...],
        ridges: tuple[float, float],
    ) -> ValueRegressionPolicy:
        shared, own = _solve(statistics, features.shape, ridges)
        return ValueRegressionPolicy(
            features,
            shared[:-1].reshape(features.shape).astype(np.float32),
            shared[-1:].astype(np.float32),
            own.astype(np.float32),
            hint_ids,
            self.config,
            ridges,
        )


def _fit_features(train: RewardedOffer, config: ValueRegressionConfig) -> PairFeatures:
    offer = train.offer
    offered = np.unique(offer.candidates[offer.present])
    # Without any hint there is nothing to fit to, and one vector of zeros does no harm.
    vectors = offer.vectors[offered] if len(offered) else np.zeros((1, offer.vectors.shape[1]))
    similarities = offer.similarities[offer.present].astype(np.float64)
    scale = float(similarities.std()) if len(similarities) else 0.0
    return PairFeatures(
        Standardiser.fit(offer.states, config.max_components),
        Standardiser.fit(vectors.astype(np.float32), config.max_hint_components),
        float(similarities.mean()) if len(similarities) else 0.0,
        scale if scale > _LEAST_SCALE else 1.0,
    )


def _trials(
    train: RewardedOffer, valid: RewardedOffer | None, folds: int, seed: int
) -> Iterator[tuple[RewardedOffer, RewardedOffer]]:
    """Yield sessions to fit to, and other sessions to evaluate the fit on."""
    if valid is not None:
        yield train, valid
        return
    fold = np.random.default_rng(seed).permutation(len(train)) % folds
    for number in range(min(folds, len(train))):
        yield train.rows(np.flatnonzero(fold != number)), train.rows(np.flatnonzero(fold == number))


def _statistics(
    measured: RewardedOffer, hint_ids: Sequence[str], features: PairFeatures
) -> list[_HintStatistics]:
    """Sum up what was measured of each hint."""
    offer = measured.offer
    rewards = align_to_hints(offer, measured.rewards[:, 1:], hint_ids)
    similarities = align_to_hints(offer, features.of_similarities(offer.similarities), hint_ids)
    states = features.states.with_intercept(offer.states).astype(np.float64)
    index = {hint_id: at for at, hint_id in enumerate(offer.hint_ids)}
    hints = features.of_hints(offer.vectors).astype(np.float64)
    statistics = []
    for column, hint_id in enumerate(hint_ids):
        known = np.isfinite(rewards[:, column])
        own = states[known]
        # The outer product of the two constants is the intercept that all pairs share.
        products = np.kron(own, hints[index[hint_id]])
        shared = np.concatenate([products, similarities[known, column][:, None]], axis=1)
        gained = rewards[known, column].astype(np.float64)
        statistics.append(
            _HintStatistics(
                shared.T @ shared, shared.T @ own, own.T @ own, shared.T @ gained, own.T @ gained
            )
        )
    return statistics


def _solve(
    statistics: Sequence[_HintStatistics], shape: tuple[int, int], ridges: tuple[float, float]
) -> tuple[_Matrix, _Matrix]:
    """Weights with the least penalised squared error.

    Eliminating each hint's own weights leaves a system in the shared ones alone, so that the
    time grows with the number of hints and not with its cube.

    Returns:
        The shared weights, ``W`` row by row and then that of the similarity, and the hints' own,
        shape ``[num_hints, state_features]``.
    """
    width = shape[0] * shape[1] + 1
    left, right = np.eye(width) * ridges[0], np.zeros(width)
    penalty = np.eye(shape[0]) * ridges[1]
    eliminated = [np.linalg.solve(one.own + penalty, one.cross.T) for one in statistics]
    for one, lifted in zip(statistics, eliminated, strict=True):
        left += one.shared - one.cross @ lifted
        right += one.shared_rewards - lifted.T @ one.own_rewards
    shared = np.asarray(np.linalg.solve(left, right), dtype=np.float64)
    own = [
        np.linalg.solve(one.own + penalty, one.own_rewards - one.cross.T @ shared)
        for one in statistics
    ]
    weights: _Matrix = np.array(own).reshape(len(statistics), shape[0])
    return shared, weights


def _squared_error(policy: ValueRegressionPolicy, judged: RewardedOffer) -> float:
    known = judged.measured
    missed = policy.predicted(judged.offer)[known] - judged.rewards[known]
    return float(np.square(missed, dtype=np.float64).sum())
