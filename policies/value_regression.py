"""The policy that predicts what every hint would bring, from all rewards that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.hint_offers import HintChoices, HintOffer, choose_best, masked
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.state_features import StateFeatures


class ValueRegressionConfig(BaseModel):
    """Hyper-parameters of the value regression.

    Attributes:
        abstain: Whether no hint is given where no hint is predicted to bring more than 0; if not,
            the hint with the best prediction is given always.
        max_components: Principal components of the training states that are looked at, at least
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


class PairFeatures:
    """What the regression sees of a session and a hint.

    Args:
        states: From raw states to their features.
        vectors: From vectors of hints to their features.
        similarity_mean: Mean cosine over the training candidates.
        similarity_scale: Their deviation, above 0.
    """

    def __init__(
        self,
        states: StateFeatures,
        vectors: StateFeatures,
        similarity_mean: float,
        similarity_scale: float,
    ) -> None:
        self.states = states
        self.vectors = vectors
        self.similarity_mean = similarity_mean
        self.similarity_scale = similarity_scale

    @property
    def shape(self) -> tuple[int, int]:
        """Features of a state and of a hint, the constants among them."""
        return 1 + self.states.num_features, 1 + self.vectors.num_features

    def of_hints(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Features of hints, ``[num_hints, dimension]`` -> ``[num_hints, hint_features]``."""
        if not len(vectors):
            # Where there are none, nobody can say how long their vectors would be.
            return np.zeros((0, self.shape[1]), dtype=np.float32)
        return self.vectors.with_constant(vectors)

    def of_similarities(self, similarities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Standardised cosines, of any shape."""
        centred = similarities - np.float32(self.similarity_mean)
        return np.asarray(centred / np.float32(self.similarity_scale), dtype=np.float32)


class ValueRegressionPolicy(PolicyOnDisk):
    """Gives the hint with the best predicted reward, and none where none is predicted above 0.

    With features ``x`` of the session and ``v`` of the hint, each with a constant, the prediction
    is ``x W v + own_h x + c similarity``: a shared part, by which hints of any text are judged,
    and for hints known from training weights of their own, which say how they differ from it.

    Source: LinUCB (arXiv 1003.0146), section 3.2: the hybrid linear model.
    Differs: fitted once to all measured rewards, so there is nothing to explore; the two parts
    have ridges of their own, so that a hint is judged by its own record only where that is long.

    Args:
        features: What it sees of a session and a hint.
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
        # Whoever has no candidate gets no hint, which is worth 0 whatever it scores.
        return choose_best(offer, scores, np.where(offer.present.any(axis=1), best, np.float32(0)))

    def predicted(self, offer: HintOffer) -> npt.NDArray[np.float32]:
        """The predicted reward of every option, in the units of the training rewards.

        Returns:
            Float32 ``[batch, 1 + width]``; 0 in column 0, no hint, and where there is no
            candidate.

        Raises:
            ValueError: States or vectors are not as wide as the trained ones.
        """
        states = self._features.states.with_constant(offer.states)
        weights = self._features.of_hints(offer.vectors) @ self._shared.T
        place = {hint_id: at for at, hint_id in enumerate(self.hint_ids)}
        known = [at for at, hint_id in enumerate(offer.hint_ids) if hint_id in place]
        weights[known] += self._own[[place[offer.hint_ids[at]] for at in known]]
        predicted = np.zeros((len(offer), 1 + offer.width), dtype=np.float32)
        if not len(weights):
            return predicted
        of_candidates = (states @ weights.T)[np.arange(len(offer))[:, None], offer.candidates]
        of_candidates += self._similarity_weight * self._features.of_similarities(
            offer.similarities
        )
        predicted[:, 1:] = np.where(offer.present, of_candidates, 0)
        return predicted

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What it has to remember."""
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
        """Make the policy that was read."""
        description = stored.described_as(_Description)
        features = PairFeatures(
            StateFeatures.taken_from(stored, "states"),
            StateFeatures.taken_from(stored, "vectors"),
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
        stored.refuse_other_tensors()
        return policy
