"""Which hints a policy's gain comes from, and on which sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.evaluation.intervals import Interval, bootstrap_interval

_TIE = 1e-9
_MIN_SLICE = 10
_NUMBERS_AT_ONCE = 2_000_000

_Floats = npt.NDArray[np.floating]
_Doubles = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MeasuredHints:
    """The gain of every hint, whether it was chosen or not.

    Attributes:
        hint_ids: The hints, none twice.
        gains: NDCG@10 with the hint minus without, -1 to 1, NaN if not measured, shape
            ``[sessions, hints]``.

    Raises:
        ValueError: If the shape does not fit, a hint comes twice or a gain is infinite.
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
        share: The same as a share of all sessions, 0 to 1.
        lift: Mean gain over no hint where it was chosen; ``None`` for no hint and if never chosen.
        wins: Sessions that it made better.
        ties: Sessions that it left as they were.
        losses: Sessions that it made worse.
        harm_rate: ``losses`` as a share of ``sessions``; ``None`` if never chosen.
        contribution: Its part of the policy's mean gain: the sum of its gains by all sessions.
        for_everyone: Mean gain had every session been given it; ``None`` unless it was measured on
            all of them.
        regret: Mean gain of the best measured option minus its own, where it was chosen, at
            least 0; ``None`` without measurements or if never chosen.
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
    """A hint that was chosen in a slice; fields as in ``HintAttribution``, within the slice."""

    model_config = ConfigDict(frozen=True)

    hint_id: str | None
    sessions: int = Field(ge=1)
    share: float = Field(ge=0, le=1)
    lift: Interval | None


class SliceAttribution(BaseModel):
    """The policy on some of the sessions.

    Attributes:
        name: Name of the slice.
        sessions: How many, at least 1.
        gain: Mean gain over no hint.
        p_value: How often, with gains assigned to sessions at random, some slice would differ
            from all sessions as clearly as this one does: adjusted for the number of slices.
        hints: What was chosen, most often first.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    sessions: int = Field(ge=1)
    gain: Interval
    p_value: float = Field(ge=0, le=1)
    hints: tuple[SliceHint, ...]


class Attribution(BaseModel):
    """A policy's mean gain over no hint by hint and by slice; ``model_dump_json`` gives the file.

    Attributes:
        sessions: How many, at least 1.
        level: Level of all intervals.
        gain: The mean gain over no hint; the contributions of ``hints`` sum to its mean.
        regret: Mean gain of the best measured option minus the policy's; ``None`` without
            measurements.
        hints: Largest contribution first, then hints that were never chosen, no hint last.
        slices: In the order given.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int = Field(ge=1)
    level: float
    gain: Interval
    regret: float | None
    hints: tuple[HintAttribution, ...]
    slices: tuple[SliceAttribution, ...]


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
    """Attribute a policy's gain to hints and to slices of the sessions.

    A lift is not what the hint would do elsewhere: the policy picked the sessions. Nor is it
    due to the policy alone: a hint that helps everybody has a lift as well; see ``for_everyone``.

    Regret is against the best of many options that were each measured once. The best of noisy
    numbers is mostly the luckiest, so no policy could have a regret of 0.

    Args:
        chosen: Id of the hint that each session was given, ``None`` for no hint.
        gained: NDCG@10 with it minus without, -1 to 1, ``[sessions]``; 0 where there was none.
        seed: Seed of bootstrap and permutations.
        measured: Gains of all hints on the same sessions in the same order.
        slices: Named masks ``[sessions]``, each with a session; see ``standard_slices``.
        resamples: Draws, at least 1.
        level: Share of the draws inside an interval, between 0 and 1.

    Raises:
        ValueError: If there is no session, a shape does not fit, a gain is not finite or that of
            no hint is not 0, or a slice has no session.
    """
    gains = np.asarray(gained, dtype=np.float64)
    named = dict(slices or {})
    _check(chosen, gains, measured, named)
    best = None if measured is None else _best(measured, gains)
    columns: dict[str, _Doubles] = {}
    if measured is not None:
        rows = np.ascontiguousarray(measured.gains.T, dtype=np.float64)
        columns = dict(zip(measured.hint_ids, rows, strict=True))

    def interval(values: _Doubles) -> Interval:
        return bootstrap_interval(values, seed=seed, resamples=resamples, level=level)

    gain = interval(gains)
    where = {one: np.array([each == one for each in chosen]) for one in dict.fromkeys(chosen)}
    hints = []
    for hint_id in dict.fromkeys([*where, *columns, None]):
        mask = where.get(hint_id, np.zeros(len(gains), dtype=bool))
        own, times = gains[mask], int(mask.sum())
        losses, wins = int((own < -_TIE).sum()), int((own > _TIE).sum())
        everyone = None if hint_id is None else columns.get(hint_id)
        if everyone is not None and not np.isfinite(everyone).all():
            everyone = None
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
                for_everyone=None if everyone is None else interval(everyone),
                regret=None if best is None or not times else float((best[mask] - own).mean()),
            )
        )
    hints.sort(key=lambda one: (one.hint_id is None, not one.sessions, -one.contribution))
    p_values = adjusted_p_values(gains, list(named.values()), seed=seed, permutations=resamples)
    return Attribution(
        sessions=len(gains),
        level=level,
        gain=gain,
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


def _check(
    chosen: Sequence[str | None],
    gains: _Doubles,
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


def _most_often(
    where: Mapping[str | None, _Bools], mask: _Bools
) -> list[tuple[str | None, _Bools]]:
    """What was chosen in a slice, most often first, with its mask."""
    there = [(hint_id, own & mask) for hint_id, own in where.items() if (own & mask).any()]
    return sorted(there, key=lambda one: (-int(one[1].sum()), one[0] or ""))


def _best(measured: MeasuredHints, gains: _Doubles) -> _Doubles:
    """The most that any measured option brought: a hint, none, or what was chosen."""
    known = np.where(np.isnan(measured.gains), -np.inf, measured.gains)
    best: _Doubles = np.maximum(known.max(axis=1, initial=0.0), gains)
    return best


def standard_slices(
    history_lengths: npt.NDArray[np.integer],
    no_hint_ndcg: _Floats,
    categories: Mapping[str, _Bools],
) -> dict[str, _Bools]:
    """Return slices by length of the history, by the result without a hint, and by category.

    Slices by the result without a hint say where a policy works, not how well: where the target
    was first already, nothing can be gained, and where it was not listed, nothing lost.

    Args:
        history_lengths: Items of each session's history, at least 0, ``[sessions]``; gives
            quartiles, fewer where many lengths are equal.
        no_hint_ndcg: NDCG@10 of each session without a hint, 0 to 1, ``[sessions]``.
        categories: Masks ``[sessions]`` by name; they may overlap.

    Returns:
        Masks ``[sessions]`` by name; none of fewer than 10 sessions, or of all.
    """
    first, absent = no_hint_ndcg >= 1 - 1e-6, no_hint_ndcg <= 1e-6
    named = {
        **_quartiles(history_lengths),
        "no hint: target not listed": absent,
        "no hint: target listed, not first": ~first & ~absent,
        "no hint: target first": first,
        **{f"category: {name}": mask for name, mask in categories.items()},
    }
    return {name: mask for name, mask in named.items() if _MIN_SLICE <= mask.sum() < len(mask)}


def _quartiles(lengths: npt.NDArray[np.integer]) -> dict[str, _Bools]:
    """Sessions by the length of their history, each slice named for its lengths."""
    edges = np.unique(np.quantile(lengths, (0.25, 0.5, 0.75), method="lower"))
    quartiles = np.searchsorted(edges, lengths, side="left")
    slices: dict[str, _Bools] = {}
    for quartile in np.unique(quartiles).tolist():
        mask: _Bools = quartiles == quartile
        low, high = int(lengths[mask].min()), int(lengths[mask].max())
        items = f"{low}" if low == high else f"{low} to {high}"
        slices[f"history: {items} item{'s' * (high != 1)}"] = mask
    return slices


def adjusted_p_values(
    values: _Doubles,
    masks: Sequence[_Bools],
    *,
    seed: int,
    permutations: int = 2_000,
) -> list[float]:
    """P-values of slices differing from all sessions by more than chance, adjusted for all slices.

    A slice's distance is that of its mean from the mean of all, in standard errors. Values are
    permuted at random; a slice's p-value is how often the largest distance of any slice is as
    large as its own.

    Source: Westfall and Young, Resampling-Based Multiple Testing (1993): single-step maxT.

    Args:
        values: One per session, ``[sessions]``.
        masks: The slices, ``[sessions]`` each.
        seed: Seed of the permutations.
        permutations: At least 1; no p-value is below ``1 / (1 + permutations)``.

    Returns:
        One per slice, above 0 to 1; 1 where a slice is all sessions, or all values are equal.
    """
    if not masks:
        return []
    members = np.stack(masks, axis=1).astype(np.float64)
    sizes, total = members.sum(axis=0), len(values)
    # The deviation of a mean of `sizes` out of `total` values, drawn without replacement.
    spread = values.std() * np.sqrt(np.maximum(1 / sizes - 1 / total, 0))
    centred = values - values.mean()

    def distances(permuted: _Doubles) -> _Doubles:
        means = np.abs(permuted @ members / sizes)
        found: _Doubles = np.divide(means, spread, out=np.zeros_like(means), where=spread > 1e-12)
        return found

    # Sums in another order round in another way: a tie is to count as one.
    own = distances(centred[None])[0] - 1e-9
    generator = np.random.default_rng(seed)
    reached = np.ones(len(masks))
    step = max(1, _NUMBERS_AT_ONCE // total)
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        permuted = generator.permuted(np.tile(centred, (rows, 1)), axis=1)
        reached += (distances(permuted).max(axis=1)[:, None] >= own).sum(axis=0)
    p_values: list[float] = (reached / (1 + permutations)).tolist()
    return p_values
