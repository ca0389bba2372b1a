"""The fixed affine map from raw vectors, of sessions or hints, to what is learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agentrec.policies.policy_files import StoredPolicy

_CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Centre vectors, scale them to deviation 1 and, if asked for, project them.

    Fitted on what is trained on only.

    Attributes:
        mean: Of each raw dimension, shape ``[raw_dim]``.
        projection: From a centred vector to features, shape ``[raw_dim, num_features]``; the
            scaling is part of it.
    """

    mean: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    @property
    def raw_dim(self) -> int:
        """Width of a raw vector."""
        return int(self.projection.shape[0])

    @property
    def num_features(self) -> int:
        """Width of what comes out."""
        return int(self.projection.shape[1])

    @staticmethod
    def fit(vectors: npt.NDArray[np.float32], max_components: int | None) -> Standardiser:
        """Fit to vectors.

        Args:
            vectors: Shape ``[num_vectors, raw_dim]``, at least one.
            max_components: Principal components of the scaled vectors to keep at most, or
                ``None`` for the scaled vectors themselves. Components share one scale that gives
                them mean variance 1, so faint ones, mostly noise, stay faint.
        """
        raw: npt.NDArray[np.float64] = vectors.astype(np.float64)
        mean = raw.mean(axis=0)
        deviation: npt.NDArray[np.float64] = raw.std(axis=0)
        # A constant dimension says nothing; dividing by its rounding error would shout.
        scale = np.where(deviation > _CONSTANT, deviation, 1.0)
        projection = np.asarray(np.diag(1 / scale), dtype=np.float64)
        if max_components is not None:
            projection = projection @ _principal_axes((raw - mean) / scale, max_components)
        return Standardiser(mean.astype(np.float32), projection.astype(np.float32))

    def __call__(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map raw vectors ``[batch, raw_dim]`` to features ``[batch, num_features]``.

        Raises:
            ValueError: The vectors are not ``raw_dim`` wide.
        """
        if vectors.shape[1:] != (self.raw_dim,):
            raise ValueError(
                f"vectors have shape {list(vectors.shape)}; this policy was trained on "
                f"{self.raw_dim} dimensions and needs [batch, {self.raw_dim}]"
            )
        return np.asarray((vectors - self.mean) @ self.projection, dtype=np.float32)


def _principal_axes(
    scaled: npt.NDArray[np.float64], max_components: int
) -> npt.NDArray[np.float64]:
    """Directions of largest variance, ``[num_vectors, raw_dim]`` -> ``[raw_dim, kept]``."""
    _, singular, every = np.linalg.svd(scaled, full_matrices=False)
    kept = min(max_components, len(singular))
    axes: npt.NDArray[np.float64] = every[:kept]
    # The sign of a component is arbitrary; fix it, so that equal data give equal features.
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[np.arange(kept), largest] < 0, -1.0, 1.0)[:, None]
    variance = float((singular[:kept] ** 2).mean() / len(scaled)) if kept else 0.0
    directions: npt.NDArray[np.float64] = axes.T / (
        variance**0.5 if variance > _CONSTANT**2 else 1.0
    )
    return directions


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
