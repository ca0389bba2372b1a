"""What a policy would have brought, told from choices that another policy made.

A session's logged reward counts the more, the likelier the judged policy was to make the logged
choice and the less likely the logging one was. Nothing can be told of choices that the logging
policy never made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.evaluation.intervals import Interval, bootstrap_interval

# Probabilities are made in single precision.
_ROUNDING = 1e-4

_Floats = npt.NDArray[np.floating]


class OffPolicyEstimate(BaseModel):
    """The mean reward of the judged policy, and how far to trust it.

    Attributes:
        reward: Mean with its bootstrap interval over sessions.
        effective_sessions: How many sessions of the judged policy's own tell as much: the square
            of the weights' sum by the sum of their squares, 0 to the number of sessions.
        largest_weight: The most that one session counts, after clipping.
        clipped: How many weights were cut; where it is not 0, the estimate is biased.
    """

    model_config = ConfigDict(frozen=True)

    reward: Interval
    effective_sessions: float = Field(ge=0)
    largest_weight: float = Field(ge=0)
    clipped: int = Field(ge=0)


@dataclass(frozen=True, eq=False)
class LoggedChoices:
    """What was chosen, by whom how likely, and what came of it.

    Attributes:
        rewards: Of the logged options, shape ``[sessions]``.
        log_probabilities: Natural log of the probability with which the logging policy made each
            choice, at most 0, ``[sessions]``.
        target_probabilities: The probability with which the judged policy would have made it,
            0 to 1, ``[sessions]``.
        largest_weight: Where weights are cut, above 0; ``None`` for nowhere. Cut weights keep
            rare choices from deciding everything and bias the estimate: towards 0, and that of
            ``doubly_robust`` towards the predictions.

    Raises:
        ValueError: If there is no session, or a shape or value is not as above; above all, if
            a logged choice had probability 0.
    """

    rewards: _Floats
    log_probabilities: _Floats
    target_probabilities: _Floats
    largest_weight: float | None = None

    def __post_init__(self) -> None:
        shape = self.rewards.shape
        if len(shape) != 1 or not shape[0]:
            raise ValueError(f"rewards have shape {list(shape)}; [sessions] needs at least one")
        for name in ("log_probabilities", "target_probabilities"):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} have shape {list(getattr(self, name).shape)}, not {list(shape)}"
                )
        if not bool(np.isfinite(self.rewards).all()):
            raise ValueError("rewards hold a value that is not finite")
        if bool((np.exp(self.log_probabilities.astype(np.float64)) == 0).any()):
            raise ValueError("a logged choice had probability 0, so it cannot have been made")
        if not bool(
            (np.isfinite(self.log_probabilities) & (self.log_probabilities <= _ROUNDING)).all()
        ):
            raise ValueError("log_probabilities are finite and at most 0")
        _check_probabilities("target_probabilities", self.target_probabilities)
        if self.largest_weight is not None and not self.largest_weight > 0:
            raise ValueError(f"largest_weight is above 0, not {self.largest_weight}")

    @property
    def uncut_weights(self) -> npt.NDArray[np.float64]:
        """How much likelier the judged policy made each choice, at least 0, ``[sessions]``."""
        logged = np.exp(np.minimum(self.log_probabilities.astype(np.float64), 0))
        weights: npt.NDArray[np.float64] = self.target_probabilities / logged
        return weights

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The same, cut at ``largest_weight``."""
        return np.minimum(
            self.uncut_weights, np.inf if self.largest_weight is None else self.largest_weight
        )


def inverse_propensity(
    logged: LoggedChoices, *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> OffPolicyEstimate:
    """The mean of the weighted rewards: right on average, and jumpy where weights are large.

    Args:
        logged: The choices.
        seed: Of the bootstrap; as for ``bootstrap_intervals``, also the others.
        resamples: Draws, at least 1.
        level: Share of the draws inside the interval.

    Source: Horvitz and Thompson, A generalization of sampling without replacement (1952).
    """
    terms = logged.weights * logged.rewards
    return _estimate(logged, terms, seed=seed, resamples=resamples, level=level)


def self_normalised(
    logged: LoggedChoices, *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> OffPolicyEstimate:
    """The weighted mean of the rewards: never outside their range, a little biased, far steadier.

    Args:
        logged: The choices; the judged policy would make at least one of them.
        seed: Of the bootstrap.
        resamples: Draws, at least 1.
        level: Share of the draws inside the interval.

    Raises:
        ValueError: If the judged policy would make none of the choices.

    Source: Swaminathan and Joachims, The self-normalized estimator (2015), section 4.
    Differs: for the interval the ratio of means is replaced by its tangent, which is a mean; the
    two agree where there are many sessions.
    """
    weights = logged.weights
    if not weights.any():
        raise ValueError("the judged policy would have made none of the logged choices")
    ratio = float(weights @ logged.rewards / weights.sum())
    terms = ratio + weights * (logged.rewards - ratio) / weights.mean()
    return _estimate(logged, terms, seed=seed, resamples=resamples, level=level)


def doubly_robust(
    logged: LoggedChoices,
    options: npt.NDArray[np.integer],
    predicted: _Floats,
    target: _Floats,
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Predicted rewards, corrected by weighted logged ones where predictions miss.

    Right on average if either the propensities or the predictions are; the better the
    predictions, the less it jumps. Predictions must not come from the rewards judged here.

    Args:
        logged: The choices; ``target_probabilities`` are those of ``target`` at ``options``.
        options: The logged options, 0 and up, ``[sessions]``.
        predicted: Reward that a model expects of every option, ``[sessions, options]``; what
            stands at options that ``target`` never takes and nobody logged is not looked at.
        target: Probabilities with which the judged policy takes each option,
            ``[sessions, options]``; rows sum to 1.
        seed: Of the bootstrap.
        resamples: Draws, at least 1.
        level: Share of the draws inside the interval.

    Raises:
        ValueError: If a shape or value is not as above.

    Source: Dudik, Langford and Li, Doubly robust policy evaluation (arXiv 1103.4601), equation 2.
    """
    rows = np.arange(len(logged.rewards))
    if target.ndim != 2 or len(target) != len(rows) or predicted.shape != target.shape:
        raise ValueError(
            f"predicted and target have shapes {list(predicted.shape)} and {list(target.shape)}; "
            f"{len(rows)} sessions need [{len(rows)}, options] of both"
        )
    if options.shape != rows.shape or options.min() < 0 or options.max() >= target.shape[1]:
        raise ValueError(f"options are {len(rows)} columns of the {target.shape[1]} of target")
    _check_probabilities("target", target)
    if not bool((np.abs(target.sum(axis=1) - 1) <= _ROUNDING).all()):
        raise ValueError("a row of target does not sum to 1")
    if not bool((np.abs(target[rows, options] - logged.target_probabilities) <= _ROUNDING).all()):
        raise ValueError("target_probabilities are not those of target at the logged options")
    looked_at = target > 0
    looked_at[rows, options] = True
    if not bool(np.isfinite(predicted[looked_at]).all()):
        raise ValueError("predicted holds a value that is not finite")
    known = np.where(looked_at, predicted, 0).astype(np.float64)
    terms = (target * known).sum(axis=1)
    terms += logged.weights * (logged.rewards - known[rows, options])
    return _estimate(logged, terms, seed=seed, resamples=resamples, level=level)


def _estimate(
    logged: LoggedChoices,
    terms: npt.NDArray[np.float64],
    *,
    seed: int,
    resamples: int,
    level: float,
) -> OffPolicyEstimate:
    weights = logged.weights
    squares = float(np.square(weights).sum())
    return OffPolicyEstimate(
        reward=bootstrap_interval(terms, seed=seed, resamples=resamples, level=level),
        effective_sessions=float(weights.sum()) ** 2 / squares if squares else 0.0,
        largest_weight=float(weights.max()),
        clipped=int((logged.uncut_weights > weights).sum()),
    )


def _check_probabilities(name: str, values: _Floats) -> None:
    if not bool(((values >= 0) & (values <= 1 + _ROUNDING)).all()):
        raise ValueError(f"{name} are probabilities, 0 to 1")
