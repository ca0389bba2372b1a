"""Guessing what hints would bring sessions from what was measured of others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

_MAX_COMPONENTS = 8
_PRIOR_CELLS = 4
_PASSES = 2
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def predicted_gains(
    states: npt.NDArray[np.float32], gains: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Predict what every hint brings every session.

    The mean of a hint, drawn towards that of all hints as if four more cells had shown it, plus
    what a ridge regression on the session's state adds for this hint. How much of that is believed,
    one penalty for all hints, is what predicts left-out cells best. How easy a session is moves
    all of its gains alike and would pass for a hint's effect, so a session's own level is taken
    off before; since effects also pass for a level, it is done once more with the effects found.

    Args:
        states: Encoded sessions, shape ``[num_rows, state_dim]``.
        gains: What was measured, -1 to 1, NaN elsewhere, shape ``[num_rows, num_hints]``.

    Returns:
        Shape ``[num_rows, num_hints]``; for comparing hints within a row.
    """
    measured = ~np.isnan(gains)
    values = np.where(measured, gains, 0).astype(np.float64)
    overall = values.sum() / max(1, measured.sum())
    means = (values.sum(axis=0) + _PRIOR_CELLS * overall) / (measured.sum(axis=0) + _PRIOR_CELLS)
    features = _components(states)
    effects = np.zeros(values.shape)
    for _ in range(_PASSES):
        rest = np.where(measured, values - means - effects, 0)
        level = rest.sum(axis=1, keepdims=True) / (1 + measured.sum(axis=1, keepdims=True))
        rest = np.where(measured, values - means - level, 0)
        fits = [_ridge(features, rest, measured, penalty) for penalty in _PENALTIES]
        weights, _ = min(fits, key=lambda fit: fit[1])
        effects = features @ weights
    predicted: _Floats = means + effects
    return predicted


def _components(states: npt.NDArray[np.float32]) -> _Floats:
    """The main directions of standardised states, with a mean square of 1 over all of them.

    Directions keep their relative sizes, so that ridge trusts the large ones first.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    standard = centred / np.where(spread > 0, spread, 1)
    left, sizes, _ = np.linalg.svd(standard, full_matrices=False)
    scores = left[:, :_MAX_COMPONENTS] * sizes[:_MAX_COMPONENTS]
    scale = np.sqrt(np.square(scores).mean()) if scores.size else 0.0
    components: _Floats = scores / scale if scale > 0 else scores
    return components


def _ridge(
    features: _Floats, rest: _Floats, measured: npt.NDArray[np.bool_], penalty: float
) -> tuple[_Floats, float]:
    """Weights of each hint, ``[components, num_hints]``, and their squared leave-one-out error."""
    error = 0.0
    weights = np.zeros((features.shape[1], rest.shape[1]))
    for hint in range(rest.shape[1]):
        rows = measured[:, hint]
        known, wanted = features[rows], rest[rows, hint]
        inverse = np.linalg.inv(known.T @ known + penalty * np.eye(known.shape[1]))
        weights[:, hint] = inverse @ (known.T @ wanted)
        leverage = np.einsum("ij,jk,ik->i", known, inverse, known)
        error += float(np.square((wanted - known @ weights[:, hint]) / (1 - leverage)).sum())
    return weights, error
