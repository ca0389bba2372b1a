"""Kinds of sessions to look at by themselves, and whether what is seen there may be luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_NUMBERS_AT_ONCE = 2_000_000
_QUARTILES = (0.25, 0.5, 0.75)

_Bools = npt.NDArray[np.bool_]


def standard_slices(
    *,
    history_lengths: npt.NDArray[np.integer] | None = None,
    no_hint_ndcg: npt.NDArray[np.floating] | None = None,
    categories: _Bools | None = None,
    category_names: Sequence[str] = (),
    least_sessions: int = 10,
) -> dict[str, _Bools]:
    """Slices that are of use nearly always.

    Those by what came without a hint say where a policy works, not how well: where the target
    was first already, nothing can be gained, and where it was not in the list, nothing lost. Who
    compares them compares what is left to gain.

    Args:
        history_lengths: Items of each session's history, at least 0, ``[sessions]``; gives
            quartiles, fewer where many lengths are equal.
        no_hint_ndcg: NDCG@10 of each session without a hint, 0 to 1, ``[sessions]``; gives
            target first, listed and not listed.
        categories: Whether each session is of each category, ``[sessions, categories]``; they
            may overlap.
        category_names: Their names.
        least_sessions: Smaller slices are left out, and so is one that holds all sessions.

    Returns:
        Masks ``[sessions]`` by name.

    Raises:
        ValueError: If the shapes do not fit, or a name comes twice.
    """
    named: list[tuple[str, _Bools]] = []
    if history_lengths is not None:
        named += _quartiles(history_lengths)
    if no_hint_ndcg is not None:
        first, absent = no_hint_ndcg >= 1 - 1e-6, no_hint_ndcg <= 1e-6
        named += [
            ("no hint: target not listed", absent),
            ("no hint: target listed, not first", ~first & ~absent),
            ("no hint: target first", first),
        ]
    shape = (0, 0) if categories is None else categories.shape
    if len(shape) != 2 or shape[1] != len(category_names):
        raise ValueError(f"{list(shape)} is not sessions by {len(category_names)} names")
    if categories is not None:
        names = [f"category: {name}" for name in category_names]
        named += list(zip(names, categories.T.astype(bool), strict=True))
    if len({len(mask) for _, mask in named}) > 1:
        raise ValueError("not all are of the same sessions")
    if len(dict(named)) != len(named):
        raise ValueError("two categories have one name")
    return {name: mask for name, mask in named if least_sessions <= mask.sum() < len(mask)}


def adjusted_p_values(
    values: npt.NDArray[np.float64],
    masks: Sequence[_Bools],
    *,
    seed: int,
    permutations: int = 2_000,
) -> list[float]:
    """Whether slices differ from all sessions by more than luck, all of them allowed for.

    A slice's distance is that of its mean from the mean of all, in standard errors. Values are
    dealt out to sessions at random, again and again; a slice's p-value is how often the largest
    distance of any slice is as large as its own.

    Source: Westfall and Young, Resampling-Based Multiple Testing (1993): single-step maxT.

    Args:
        values: One a session, ``[sessions]``.
        masks: The slices, ``[sessions]`` each.
        seed: Same seed and values: same p-values.
        permutations: How often, at least 1; no p-value is below ``1 / (1 + permutations)``.

    Returns:
        One a slice, above 0 to 1; 1 where a slice is all sessions, or all values are equal.
    """
    if not masks:
        return []
    members = np.stack(masks, axis=1).astype(np.float64)
    sizes, total = members.sum(axis=0), len(values)
    # The deviation of a mean of `sizes` out of `total` values, drawn without replacement.
    spread = values.std() * np.sqrt(np.maximum(1 / sizes - 1 / total, 0))
    centred = values - values.mean()

    def distances(dealt: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        means = np.abs(dealt @ members / sizes)
        found: npt.NDArray[np.float64] = np.divide(
            means, spread, out=np.zeros_like(means), where=spread > 1e-12
        )
        return found

    # Sums in another order round in another way: a tie is to count as one.
    own = distances(centred[None])[0] - 1e-9
    generator = np.random.default_rng(seed)
    reached = np.ones(len(masks))
    step = max(1, _NUMBERS_AT_ONCE // total)
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        dealt = generator.permuted(np.tile(centred, (rows, 1)), axis=1)
        reached += (distances(dealt).max(axis=1)[:, None] >= own).sum(axis=0)
    p_values: list[float] = (reached / (1 + permutations)).tolist()
    return p_values


def _quartiles(lengths: npt.NDArray[np.integer]) -> list[tuple[str, _Bools]]:
    """Sessions by the length of their history, each part named for the lengths in it."""
    if not len(lengths):
        return []
    edges = np.unique(np.quantile(lengths, _QUARTILES, method="lower"))
    parts = np.searchsorted(edges, lengths, side="left")
    slices = []
    for part in np.unique(parts).tolist():
        mask: _Bools = parts == part
        low, high = int(lengths[mask].min()), int(lengths[mask].max())
        items = f"{low}" if low == high else f"{low} to {high}"
        slices.append((f"history: {items} item{'s' * (high != 1)}", mask))
    return slices
