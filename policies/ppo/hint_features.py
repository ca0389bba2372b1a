"""What a policy sees of a hint: where its text lies, and whether it was trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.policies.standardiser import Standardiser


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
