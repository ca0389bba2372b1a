"""The fixed affine map from raw vectors, of sessions or hints, to a model's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agentrec.policies.policy_files import StoredPolicy

_CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Centres vectors, scales them to deviation 1 and, if asked, projects them.

    Fitted on training data only.

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
        """Number of features."""
        return int(self.projection.shape[1])

    @classmethod
    def fit(cls, vectors: npt.NDArray[np.float32], max_components: int | None) -> Self:
        """Fit to vectors.

        Args:
            vectors: Shape ``[num_vectors, raw_dim]``, at least one.
            max_components: Largest number of principal components of the scaled vectors to keep,
                or ``None`` for the scaled vectors themselves. All components share one scale, with
                mean variance 1, so that faint ones, mostly noise, stay faint.
        """
        raw: npt.NDArray[np.float64] = vectors.astype(np.float64)
        mean = raw.mean(axis=0)
        deviation: npt.NDArray[np.float64] = raw.std(axis=0)
        # A constant dimension says nothing; dividing by its rounding error would shout.
        scale = np.where(deviation > _CONSTANT, deviation, 1.0)
        projection = np.asarray(np.diag(1 / scale), dtype=np.float64)
        if max_components is not None:
            projection = projection @ _principal_axes((raw - mean) / scale, max_components)
        return cls(mean.astype(np.float32), projection.astype(np.float32))

    @classmethod
    def from_stored(
        cls,
        stored: StoredPolicy,
        name: str,
        raw_dim: int | None = None,
        num_features: int | None = None,
    ) -> Self:
        """Read what ``tensors`` returned.

        Args:
            stored: Where the tensors are taken from.
            name: Prefix of their names.
            raw_dim: Width that a raw vector must have; ``None`` for any.
            num_features: How many features there must be; ``None`` for any.

        Raises:
            InputError: A tensor is missing or has the wrong shape.
        """
        projection = stored.take(f"{name}.projection", (raw_dim, num_features))
        return cls(stored.take(f"{name}.mean", (len(projection),)), projection)

    def tensors(self, name: str) -> dict[str, npt.NDArray[np.float32]]:
        """Return the numbers under names that begin with ``name``."""
        return {f"{name}.mean": self.mean, f"{name}.projection": self.projection}

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

    def with_intercept(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map raw vectors to a 1 and their features, ``[batch, 1 + num_features]``.

        Raises:
            ValueError: The vectors are not ``raw_dim`` wide.
        """
        features = self(vectors)
        return np.concatenate([np.ones((len(vectors), 1), np.float32), features], axis=1)


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
