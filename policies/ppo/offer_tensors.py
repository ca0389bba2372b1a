"""An offer as the networks see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.policies.standardiser import Standardiser


@dataclass(frozen=True, eq=False)
class Situations:
    """Sessions and what each may choose, as tensors.

    Attributes:
        features: Standardised states, ``[batch, num_features]`` or, where every network looks at
            sessions of its own, ``[num_networks, batch, num_features]``.
        hint_features: What is known of the hints, ``[num_hints, num_hint_features]``.
        trained: Which of the trained hints each hint is, ``num_trained`` for none of them,
            ``[num_hints]``.
        candidates: Places in the hints, 0 where there is no candidate, as ``features`` without
            its last axis and with ``width`` instead.
        allowed: Which options may be chosen, column 0 for no hint, one wider than ``candidates``.
    """

    features: torch.Tensor
    hint_features: torch.Tensor
    trained: torch.Tensor
    candidates: torch.Tensor
    allowed: torch.Tensor

    @classmethod
    def of(cls, offer: HintOffer, standardiser: Standardiser, hints: HintFeatures) -> Self:
        """Turn an offer into tensors."""
        there = np.concatenate([np.ones((len(offer), 1), dtype=bool), offer.present], axis=1)
        return cls(
            torch.from_numpy(standardiser(offer.states)),
            torch.from_numpy(hints(offer.vectors)),
            torch.from_numpy(hints.places(offer.hint_ids)),
            torch.from_numpy(np.where(offer.candidates == NO_CANDIDATE, 0, offer.candidates)),
            torch.from_numpy(there),
        )

    def __len__(self) -> int:
        """How many sessions there are."""
        return self.features.shape[-2]

    def rows(self, places: torch.Tensor | slice) -> Situations:
        """Some of the sessions.

        Args:
            places: Shape ``[batch]``, or ``[num_networks, batch]`` where every network looks at
                sessions of its own.
        """
        return Situations(
            self.features[places],
            self.hint_features,
            self.trained,
            self.candidates[places],
            self.allowed[places],
        )

    def only(self, allowed: npt.NDArray[np.bool_]) -> Situations:
        """The same, with fewer options, ``[batch, 1 + width]``."""
        return Situations(
            self.features,
            self.hint_features,
            self.trained,
            self.candidates,
            self.allowed & torch.from_numpy(allowed),
        )


@dataclass(frozen=True, eq=False)
class HintFeatures:
    """Features of hints, known and new.

    Attributes:
        hint_ids: The trained hints.
        standardiser: From text vectors to features, fitted on the trained hints.
    """

    hint_ids: tuple[str, ...]
    standardiser: Standardiser

    @classmethod
    def fit(
        cls,
        hint_ids: Sequence[str],
        vectors: npt.NDArray[np.float32],
        max_components: int,
    ) -> HintFeatures:
        """Fit to the hints that are trained on.

        Args:
            hint_ids: Their ids.
            vectors: Their text vectors, ``[num_hints, dimension]``.
            max_components: Principal components to keep at most.
        """
        some = vectors if len(vectors) else np.zeros((1, vectors.shape[1]), dtype=np.float32)
        return cls(tuple(hint_ids), Standardiser.fit(some, max_components))

    def __call__(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Features of hints, ``[num_hints, dimension]`` -> ``[num_hints, num_features]``.

        Raises:
            ValueError: The vectors are of another text embedding.
        """
        if vectors.shape[1:] != (self.standardiser.raw_dim,):
            raise ValueError(
                f"the hints' vectors have {vectors.shape[1]} dimensions; this policy was trained "
                f"with a text embedding of {self.standardiser.raw_dim}"
            )
        return self.standardiser(vectors)

    def places(self, hint_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Which trained hint each one is, ``len(self.hint_ids)`` for a new one."""
        known = {hint_id: place for place, hint_id in enumerate(self.hint_ids)}
        return np.array([known.get(one, len(known)) for one in hint_ids], dtype=np.int64)
