"""How the value regression is fitted: in closed form, with ridges that others' rewards choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.policies.state_features import StateFeatures
from agentrec.policies.training_data import by_hint, check_training, offered_ids
from agentrec.policies.value_regression import (
    PairFeatures,
    ValueRegressionConfig,
    ValueRegressionPolicy,
)
from agentrec.rewarded_offers import RewardedOffer

_LEAST_SCALE = 1e-6

_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _HintRecord:
    """Sums over the sessions on which one hint was measured: all that a fit needs of them."""

    shared: _Matrix
    cross: _Matrix
    own: _Matrix
    shared_rewards: _Matrix
    own_rewards: _Matrix


class ValueRegressionTrainer:
    """Fits a ``ValueRegressionPolicy`` by least squares to every measured reward.

    Every weight is shrunk towards 0, so that where nothing is known nothing is expected. The two
    ridges with the smallest squared error on the validation sessions are taken; without those,
    the ones with the smallest error of training sessions predicted from the other ones.

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
            valid: Validation sessions; only the ridges are chosen by them.
            seed: Of the parts into which sessions are divided where there is no ``valid``.
            on_progress: Called after each pair of ridges, and at the end.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        check_training(train, valid)
        if valid is not None and valid.offer.vectors.shape[1] != train.offer.vectors.shape[1]:
            raise ValueError("vectors of the validation hints are not as long as in training")
        features = _fit_features(train, self.config)
        hint_ids = offered_ids(train.offer)
        trials = list(_trials(train, valid, self.config.folds, seed))
        records = [_records(part, hint_ids, features) for part, _ in trials]
        pairs = [
            (shared, own) for shared in self.config.shared_ridges for own in self.config.own_ridges
        ]
        errors = []
        for done, ridges in enumerate(pairs, start=1):
            error = 0.0
            for (_, judged), record in zip(trials, records, strict=True):
                error += _squared_error(self._solved(record, features, hint_ids, ridges), judged)
            errors.append(error)
            if on_progress is not None:
                on_progress(done, len(pairs) + 1)
        # Of equal errors the first: where nothing was measured to judge by, any will do.
        best = pairs[int(np.argmin(errors))]
        policy = self._solved(_records(train, hint_ids, features), features, hint_ids, best)
        if on_progress is not None:
            on_progress(len(pairs) + 1, len(pairs) + 1)
        return policy

    def _solved(
        self,
        records: Sequence[_HintRecord],
        features: PairFeatures,
        hint_ids: tuple[str, ...],
        ridges: tuple[float, float],
    ) -> ValueRegressionPolicy:
        shared, own = _solve(records, features.shape, ridges)
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
        StateFeatures.fit(offer.states, config.max_components),
        StateFeatures.fit(vectors.astype(np.float32), config.max_hint_components),
        float(similarities.mean()) if len(similarities) else 0.0,
        scale if scale > _LEAST_SCALE else 1.0,
    )


def _trials(
    train: RewardedOffer, valid: RewardedOffer | None, folds: int, seed: int
) -> Iterator[tuple[RewardedOffer, RewardedOffer]]:
    """Sessions to fit to and other sessions to judge the fit by."""
    if valid is not None:
        yield train, valid
        return
    fold = np.random.default_rng(seed).permutation(len(train)) % folds
    for number in range(min(folds, len(train))):
        yield train.rows(np.flatnonzero(fold != number)), train.rows(np.flatnonzero(fold == number))


def _records(
    measured: RewardedOffer, hint_ids: Sequence[str], features: PairFeatures
) -> list[_HintRecord]:
    """What was measured of each hint, summed up."""
    offer = measured.offer
    rewards = by_hint(offer, measured.rewards[:, 1:], hint_ids)
    similarities = by_hint(offer, features.of_similarities(offer.similarities), hint_ids)
    states = features.states.with_constant(offer.states).astype(np.float64)
    place = {hint_id: at for at, hint_id in enumerate(offer.hint_ids)}
    hints = features.of_hints(offer.vectors).astype(np.float64)
    records = []
    for column, hint_id in enumerate(hint_ids):
        known = np.isfinite(rewards[:, column])
        own = states[known]
        # The outer product of the two constants is the intercept that all pairs share.
        products = np.kron(own, hints[place[hint_id]])
        shared = np.concatenate([products, similarities[known, column][:, None]], axis=1)
        gained = rewards[known, column].astype(np.float64)
        records.append(
            _HintRecord(
                shared.T @ shared, shared.T @ own, own.T @ own, shared.T @ gained, own.T @ gained
            )
        )
    return records


def _solve(
    records: Sequence[_HintRecord], shape: tuple[int, int], ridges: tuple[float, float]
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
    eliminated = [np.linalg.solve(one.own + penalty, one.cross.T) for one in records]
    for one, lifted in zip(records, eliminated, strict=True):
        left += one.shared - one.cross @ lifted
        right += one.shared_rewards - lifted.T @ one.own_rewards
    shared = np.asarray(np.linalg.solve(left, right), dtype=np.float64)
    own = [
        np.linalg.solve(one.own + penalty, one.own_rewards - one.cross.T @ shared)
        for one in records
    ]
    weights: _Matrix = np.array(own).reshape(len(records), shape[0])
    return shared, weights


def _squared_error(policy: ValueRegressionPolicy, judged: RewardedOffer) -> float:
    known = judged.measured
    missed = policy.predicted(judged.offer)[known] - judged.rewards[known]
    return float(np.square(missed, dtype=np.float64).sum())
