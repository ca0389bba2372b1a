"""Which hints a policy's gain comes from, and for which sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.evaluation.intervals import Interval, bootstrap_interval
from agentrec.evaluation.session_slices import adjusted_p_values

_TIE = 1e-9

_Floats = npt.NDArray[np.floating]
_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MeasuredHints:
    """What every hint brought, whether it was chosen or not.

    Attributes:
        hint_ids: The hints.
        gains: NDCG@10 with the hint minus without, -1 to 1, NaN where nobody measured it, shape
            ``[sessions, hints]``.

    Raises:
        ValueError: If the shape or a value is not as above, or a hint comes twice.
    """

    hint_ids: Sequence[str]
    gains: _Floats

    def __post_init__(self) -> None:
        if self.gains.ndim != 2 or self.gains.shape[1] != len(self.hint_ids):
            shape = list(self.gains.shape)
            raise ValueError(f"{shape} is not sessions by {len(self.hint_ids)} hints")
        if len(set(self.hint_ids)) != len(self.hint_ids):
            raise ValueError("a hint was measured twice")
        if bool(np.isinf(self.gains).any()):
            raise ValueError("gains hold a value that is not finite")


class HintAttribution(BaseModel):
    """What one hint did where the policy chose it.

    Attributes:
        hint_id: The hint, ``None`` for no hint.
        sessions: How often it was chosen.
        share: The same by all sessions, 0 to 1.
        lift: Mean gain over no hint where it was chosen, with its interval; ``None`` for no hint
            and where it was never chosen. Of a single session the interval has width 0 and says
            nothing.
        wins: Sessions that it made better.
        ties: Sessions that it left as they were.
        losses: Sessions that it made worse.
        harm_rate: Share of its sessions that it made worse, 0 to 1; ``None`` if never chosen.
        contribution: Its part of the policy's mean gain: all it gained, by all sessions.
        for_everyone: Mean gain, had every session been given it, with its interval; ``None``
            unless it was measured on all of them.
        regret: Mean of what the best measured option brought minus what this one did, where it
            was chosen, at least 0; ``None`` without measurements or if never chosen.
    """

    model_config = ConfigDict(frozen=True)

    hint_id: str | None
    sessions: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    lift: Interval | None
    wins: int
    ties: int
    losses: int
    harm_rate: float | None
    contribution: float
    for_everyone: Interval | None = None
    regret: float | None = None


class SliceHint(BaseModel):
    """What one hint did where the policy chose it for sessions of a slice.

    Attributes:
        hint_id: The hint, ``None`` for no hint.
        sessions: How often it was chosen, at least 1.
        share: The same by the sessions of the slice.
        lift: Mean gain over no hint there, with its interval; ``None`` for no hint.
    """

    model_config = ConfigDict(frozen=True)

    hint_id: str | None
    sessions: int = Field(ge=1)
    share: float = Field(ge=0, le=1)
    lift: Interval | None


class SliceAttribution(BaseModel):
    """The policy on some of the sessions.

    Attributes:
        name: Which ones.
        sessions: How many, at least 1.
        gain: Mean gain over no hint, with its interval.
        p_value: How often, with gains dealt out to sessions at random, some slice would differ
            from all sessions as clearly as this one does, 0 to 1. All slices are allowed for:
            where nothing differs, one of them is below 0.05 in 1 of 20 cases.
        hints: What was chosen, most often first.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    sessions: int = Field(ge=1)
    gain: Interval
    p_value: float = Field(ge=0, le=1)
    hints: tuple[SliceHint, ...]


class Attribution(BaseModel):
    """A policy's mean gain over no hint, taken apart; ``model_dump_json`` gives the file.

    Attributes:
        sessions: How many, at least 1.
        level: Level of all intervals.
        gain: The mean gain over no hint; the contributions of ``hints`` sum up to its mean.
        regret: Mean of what the best measured option brought minus what was gained; ``None``
            without measurements.
        hints: What gained most first, then hints that were never chosen, no hint last.
        slices: In the order given.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int = Field(ge=1)
    level: float
    gain: Interval
    regret: float | None
    hints: tuple[HintAttribution, ...]
    slices: tuple[SliceAttribution, ...]

    @property
    def slice_lifts(self) -> int:
        """How many lifts of a hint in a slice there are.

        Their intervals are each at ``level`` by themselves: of lifts that are nothing, a share
        of ``1 - level`` leaves 0 outside.
        """
        return sum(hint.lift is not None for one in self.slices for hint in one.hints)


def attribute(
    chosen: Sequence[str | None],
    gained: _Floats,
    *,
    seed: int,
    measured: MeasuredHints | None = None,
    slices: Mapping[str, _Bools] | None = None,
    resamples: int = 2_000,
    level: float = 0.95,
) -> Attribution:
    """Take a policy's gain apart by hint and by slice.

    A lift is not what the hint would do elsewhere: the policy picked the sessions. Nor is it the
    policy's doing alone: a hint that helps everybody has a lift as well; see ``for_everyone``.

    Regret is against the best of many options that were each measured once. The best of noisy
    numbers is mostly the luckiest, so it is optimistic, and no policy could have a regret of 0.

    Args:
        chosen: Id of the hint that each session was given, ``None`` for no hint.
        gained: NDCG@10 with it minus without, -1 to 1, ``[sessions]``; 0 where there was none.
        seed: Of bootstrap and permutations.
        measured: What all hints brought on the same sessions in the same order.
        slices: Named masks ``[sessions]``, each with a session; see ``standard_slices``.
        resamples: Draws, at least 1.
        level: Share of the draws inside an interval, between 0 and 1.

    Raises:
        ValueError: If there is no session, a shape does not fit, or a gain is not finite or,
            without a hint, not 0.
    """
    gains = np.asarray(gained, dtype=np.float64)
    _check(chosen, gains, measured, slices or {})
    best = None if measured is None else _best(measured, gains)

    def interval(values: npt.NDArray[np.float64]) -> Interval:
        return bootstrap_interval(values, seed=seed, resamples=resamples, level=level)

    where = {one: np.array([each == one for each in chosen]) for one in dict.fromkeys(chosen)}
    columns: dict[str, npt.NDArray[np.float64]] = {}
    if measured is not None:
        columns = {
            hint_id: np.asarray(measured.gains[:, place], dtype=np.float64)
            for place, hint_id in enumerate(measured.hint_ids)
        }
    hints = []
    for hint_id in dict.fromkeys([*where, *columns, None]):
        mask = where.get(hint_id, np.zeros(len(gains), dtype=bool))
        own, times = gains[mask], int(mask.sum())
        losses, wins = int((own < -_TIE).sum()), int((own > _TIE).sum())
        everyone = None if hint_id is None else columns.get(hint_id)
        complete = everyone is not None and bool(np.isfinite(everyone).all())
        hints.append(
            HintAttribution(
                hint_id=hint_id,
                sessions=times,
                share=times / len(gains),
                lift=interval(own) if times and hint_id is not None else None,
                wins=wins,
                ties=times - wins - losses,
                losses=losses,
                harm_rate=losses / times if times else None,
                contribution=float(own.sum()) / len(gains),
                for_everyone=interval(everyone) if complete and everyone is not None else None,
                regret=None if best is None or not times else float((best[mask] - own).mean()),
            )
        )
    hints.sort(key=lambda one: (one.hint_id is None, not one.sessions, -one.contribution))
    named = dict(slices or {})
    p_values = adjusted_p_values(gains, list(named.values()), seed=seed, permutations=resamples)
    return Attribution(
        sessions=len(gains),
        level=level,
        gain=interval(gains),
        regret=None if best is None else float((best - gains).mean()),
        hints=tuple(hints),
        slices=tuple(
            SliceAttribution(
                name=name,
                sessions=int(mask.sum()),
                gain=interval(gains[mask]),
                p_value=p_value,
                hints=tuple(
                    SliceHint(
                        hint_id=hint_id,
                        sessions=int(both.sum()),
                        share=float(both.sum() / mask.sum()),
                        lift=None if hint_id is None else interval(gains[both]),
                    )
                    for hint_id, both in _most_often(where, mask)
                ),
            )
            for (name, mask), p_value in zip(named.items(), p_values, strict=True)
        ),
    )


def _most_often(
    where: Mapping[str | None, _Bools], mask: _Bools
) -> list[tuple[str | None, _Bools]]:
    """What was chosen in a slice, most often first, with where it was."""
    there = [(hint_id, own & mask) for hint_id, own in where.items() if (own & mask).any()]
    return sorted(there, key=lambda one: (-int(one[1].sum()), one[0] or ""))


def _best(measured: MeasuredHints, gains: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The most that any measured option brought: a hint, none, or what was chosen."""
    known = np.where(np.isnan(measured.gains), -np.inf, measured.gains)
    best: npt.NDArray[np.float64] = np.maximum(known.max(axis=1, initial=0.0), gains)
    return best


def _check(
    chosen: Sequence[str | None],
    gains: npt.NDArray[np.float64],
    measured: MeasuredHints | None,
    slices: Mapping[str, _Bools],
) -> None:
    if not len(chosen) or gains.shape != (len(chosen),):
        raise ValueError(f"{len(chosen)} choices and gains of shape {list(gains.shape)}")
    if unknown := int((~np.isfinite(gains)).sum()):
        raise ValueError(f"nobody measured what was gained on {unknown} of {len(gains)} sessions")
    if any(one is None and gain for one, gain in zip(chosen, gains.tolist(), strict=True)):
        raise ValueError("the gain of no hint is 0")
    if measured is not None and len(measured.gains) != len(gains):
        raise ValueError(f"{len(gains)} sessions, and hints measured on {len(measured.gains)}")
    for name, mask in slices.items():
        if mask.shape != gains.shape or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"slice {name!r} is no mask of {len(gains)} sessions with one in it")
