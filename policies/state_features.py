"""The few features, and a constant, that linear policies see of a session or a hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agentrec.policies.policy_files import StoredPolicy
from agentrec.policies.standardiser import Standardiser


@dataclass(frozen=True, eq=False)
class StateFeatures:
    """Standardised rows with a 1 before them, and how they are stored.

    Attributes:
        standardiser: From raw rows to features.
    """

    standardiser: Standardiser

    @property
    def num_features(self) -> int:
        """How many features come out, the constant not counted."""
        return self.standardiser.num_features

    @classmethod
    def fit(cls, rows: npt.NDArray[np.float32], max_components: int) -> Self:
        """Fit to training rows.

        Args:
            rows: States, or vectors of hints, ``[num_rows, dimension]``, at least one row.
            max_components: Principal components to keep at most; they share one scale that gives
                them mean variance 1.
        """
        return cls(Standardiser.fit(rows, max_components))

    @classmethod
    def taken_from(cls, stored: StoredPolicy, name: str) -> Self:
        """Read what ``tensors`` gave.

        Raises:
            InputError: A tensor is missing or does not fit the other.
        """
        projection = stored.take(f"{name}.projection", (None, None))
        mean = stored.take(f"{name}.mean", (len(projection),))
        return cls(Standardiser(mean, projection))

    def tensors(self, name: str) -> dict[str, npt.NDArray[np.float32]]:
        """The numbers, to be written to a file."""
        return {
            f"{name}.mean": self.standardiser.mean,
            f"{name}.projection": self.standardiser.projection,
        }

    def with_constant(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map rows ``[batch, dimension]`` to 1 and features, ``[batch, 1 + num_features]``.

        Raises:
            ValueError: The rows are not as wide as those that were trained on.
        """
        features = self.standardiser(rows)
        return np.concatenate([np.ones((len(rows), 1), np.float32), features], axis=1)
