"""What hints do to sessions that nothing was learnt from, beside what had been measured before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from agentrec.evaluation.intervals import Interval, bootstrap_interval
from agentrec.hints import Hint


class HintEffect(BaseModel):
    """One hint on held-out sessions.

    Attributes:
        hint: The hint, with the evidence it had.
        near: Mean of NDCG@10 with the hint minus without, -1 to 1, over sessions like the one it
            comes from, with its interval.
        everywhere: The same over all sessions.
        wins: Sessions like its own that it made better.
        losses: Sessions like its own that it made worse.
    """

    model_config = ConfigDict(frozen=True)

    hint: Hint
    near: Interval
    everywhere: Interval
    wins: int
    losses: int


class HintEffects(BaseModel):
    """All hints on the same held-out sessions.

    Attributes:
        sessions: How many.
        effects: Each hint, in the order given.
        admitted: Mean gain of admitted hints, each on sessions like its own; ``None`` where there
            are none.
        refused: The same of hints that evidence refused.
        difference: The first minus the second, over the same draws of sessions.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int
    effects: tuple[HintEffect, ...]
    admitted: Interval | None
    refused: Interval | None
    difference: Interval | None

    @property
    def share_positive(self) -> float:
        """Share of admitted hints with a mean gain above 0 on sessions like theirs, 0 to 1."""
        gains = [effect.near.mean for effect in self.effects if effect.hint.state == "admitted"]
        return sum(gain > 0 for gain in gains) / max(1, len(gains))


def hint_effects(
    hints: Sequence[Hint],
    gains: npt.NDArray[np.float64],
    near: npt.NDArray[np.bool_],
    seed: int,
    resamples: int = 2_000,
) -> HintEffects:
    """Sum up what was measured.

    Args:
        hints: Admitted hints, and those that evidence refused, which are in state ``nominated``.
        gains: NDCG@10 of each session under each hint minus that without,
            ``[num_sessions, num_hints]``.
        near: Whether a session is like the one a hint comes from, of the same shape; each hint
            has at least one.
        seed: Seed of the bootstrap.
        resamples: Draws of sessions.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if gains.shape != near.shape or gains.shape[1:] != (len(hints),):
        raise ValueError(f"{gains.shape} and {near.shape} are not sessions by {len(hints)} hints")
    draws = np.random.default_rng(seed).multinomial(
        len(gains), np.full(len(gains), 1 / len(gains)), size=resamples
    )
    means: dict[str, npt.NDArray[np.float64]] = {}
    for state in ("admitted", "nominated"):
        places = [place for place, hint in enumerate(hints) if hint.state == state]
        if places:
            total = (gains * near)[:, places].sum(axis=1)
            count = near[:, places].sum(axis=1)
            # The mean itself first, then one of every draw of sessions.
            drawn = np.concatenate([np.ones((1, len(gains))), draws])
            means[state] = (drawn @ total) / np.maximum(drawn @ count, 1)
    columns = [gains[near[:, place], place] for place in range(len(hints))]
    both = len(means) == 2
    return HintEffects(
        sessions=len(gains),
        effects=tuple(
            HintEffect(
                hint=hint,
                near=bootstrap_interval(own, seed=seed, resamples=resamples),
                everywhere=bootstrap_interval(gains[:, place], seed=seed, resamples=resamples),
                wins=int((own > 1e-9).sum()),
                losses=int((own < -1e-9).sum()),
            )
            for place, (hint, own) in enumerate(zip(hints, columns, strict=True))
        ),
        admitted=_interval(means["admitted"]) if "admitted" in means else None,
        refused=_interval(means["nominated"]) if "nominated" in means else None,
        difference=_interval(means["admitted"] - means["nominated"]) if both else None,
    )


def _interval(means: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(means[1:], [2.5, 97.5])
    return Interval(mean=float(means[0]), low=float(low), high=float(high))
