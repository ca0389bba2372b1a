"""The fixed affine map from raw session states to what the networks see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

_CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Centre states, scale them to deviation 1 and, if asked for, project them.

    Fitted on training states only.

    Attributes:
        mean: Of each raw dimension, shape ``[state_dim]``.
        projection: From a centred state to features, shape ``[state_dim, num_features]``; the
            scaling is part of it.
    """

    mean: torch.Tensor
    projection: torch.Tensor

    @property
    def state_dim(self) -> int:
        """Width of a raw state."""
        return self.projection.shape[0]

    @property
    def num_features(self) -> int:
        """Width of what comes out."""
        return self.projection.shape[1]

    @staticmethod
    def fit(states: npt.NDArray[np.float32], max_components: int | None) -> Standardiser:
        """Fit to training states.

        Args:
            states: Shape ``[num_sessions, state_dim]``, at least one session.
            max_components: Principal components of the scaled states to keep at most, or ``None``
                for the scaled states themselves. Components share one scale that gives them mean
                variance 1, so faint ones, mostly noise, stay faint.
        """
        raw = states.astype(np.float64)
        mean = raw.mean(axis=0)
        deviation = raw.std(axis=0)
        # A constant dimension says nothing; dividing by its rounding error would shout.
        scale = np.where(deviation > _CONSTANT, deviation, 1.0)
        projection = np.diag(1 / scale)
        if max_components is not None:
            projection = projection @ _principal_axes((raw - mean) / scale, max_components)
        return Standardiser(
            torch.tensor(mean, dtype=torch.float32), torch.tensor(projection, dtype=torch.float32)
        )

    def __call__(self, states: npt.NDArray[np.float32]) -> torch.Tensor:
        """Map raw states ``[batch, state_dim]`` to features ``[batch, num_features]``.

        Raises:
            ValueError: The states are not two-dimensional, not ``state_dim`` wide or not finite.
        """
        if states.ndim != 2 or states.shape[1] != self.state_dim:
            raise ValueError(
                f"states have shape {list(states.shape)}; this policy was trained on states of "
                f"{self.state_dim} dimensions and needs [batch, {self.state_dim}]"
            )
        if not bool(np.isfinite(states).all()):
            raise ValueError("states hold a value that is not finite")
        # Torch takes no array with negative strides, such as one turned round.
        raw = torch.tensor(np.ascontiguousarray(states), dtype=torch.float32)
        return (raw - self.mean) @ self.projection


def _principal_axes(
    scaled: npt.NDArray[np.float64], max_components: int
) -> npt.NDArray[np.float64]:
    """Directions of largest variance, ``[num_sessions, state_dim]`` -> ``[state_dim, kept]``."""
    _, singular, axes = np.linalg.svd(scaled, full_matrices=False)
    kept = min(max_components, len(singular))
    axes = axes[:kept]
    # The sign of a component is arbitrary; fix it, so that equal data give equal features.
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[np.arange(kept), largest] < 0, -1.0, 1.0)[:, None]
    variance = float((singular[:kept] ** 2).mean() / len(scaled))
    directions: npt.NDArray[np.float64] = axes.T / (
        variance**0.5 if variance > _CONSTANT**2 else 1.0
    )
    return directions
