"""Reward shapes: how the effect of a hint on a ranking becomes the reward of a policy.

All shapes compare two rankings of one session's candidates, one made with the hint and one
without. "No hint" is worth 0 in all of them, and harm is negative. They differ in what a step from
one rank to another is worth:

================  =======================  ====================================================
shape             values                   from rank 2 to 1, 10 to 9, none to 10
================  =======================  ====================================================
ndcg              -1 to 1                  0.37, 0.01, 0.29
reciprocal_rank   -1 to 1                  0.50, 0.01, 0.10
hit               -1, 0 or 1               0, 0, 1
sign              -1, 0 or 1               1, 1, 1
================  =======================  ====================================================

- ``ndcg``: the paper's, and what reports show: the mean reward of a policy is the NDCG@10 it
  gains. Take it unless there is a reason not to.
- ``reciprocal_rank``: counts almost only the first ranks, so a policy ignores a target that would
  come sixth anyway. For uses that show one or two items, and where MRR is reported.
- ``hit``: only whether the target is in the list. For uses that show the whole list, or hand it on
  to another ranker. Most rewards are 0, so it takes more sessions to learn from.
- ``sign``: only whether the hint helped or harmed. Rare jumps to the first rank count no more than
  small steps, so it is stable where answers are noisy and sessions are few; but a policy learns to
  help often, not to help much, and its mean NDCG@10 may be lower for it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

RewardShape = Literal["ndcg", "reciprocal_rank", "hit", "sign"]

_SAME_RANK = 1e-3


def shaped_rewards(
    with_option: npt.NDArray[np.float32],
    without: npt.NDArray[np.float32],
    shape: RewardShape = "ndcg",
) -> npt.NDArray[np.float32]:
    """Turn NDCG@10 with and without a hint into rewards.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation: the difference of NDCG@10.
    Differs: the paper has the shape ``ndcg`` only.

    Args:
        with_option: NDCG@10 under options, 0 to 1, any shape; NaN where it was not measured.
        without: NDCG@10 of the same sessions under no hint, 0 to 1, of a shape that broadcasts.
        shape: See the module.

    Returns:
        Float32 rewards, -1 to 1, NaN where either NDCG is.

    Raises:
        ValueError: If ``shape`` is not a known one.
    """
    known = get_args(RewardShape)
    if shape not in known:
        raise ValueError(f"unknown shape {shape!r}; it is one of {', '.join(known)}")
    if shape == "reciprocal_rank":
        return _float32(reciprocal_ranks(with_option) - reciprocal_ranks(without))
    if shape == "hit":
        return _float32(_hits(with_option) - _hits(without))
    difference = with_option - without
    return _float32(np.sign(difference) if shape == "sign" else difference)


def reciprocal_ranks(ndcg: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``1 / rank`` of the targets behind NDCG@10 values, 0 where they are not in the list.

    With one target ``NDCG = 1 / log2(rank + 1)``, so the rank is known exactly. A mean of several
    NDCG values has the reciprocal of the fractional rank that would have brought it.

    Args:
        ndcg: 0 to 1, any shape; NaN stays NaN.

    >>> reciprocal_ranks(np.array([1, 0.5, 0], dtype=np.float32)).tolist()
    [1.0, 0.3333333333333333, 0.0]
    """
    # One ranking has at least the tenth rank's .289, or 0; the floor keeps 2 ** (1 / x) finite.
    ranks = 2 ** (1 / np.maximum(ndcg.astype(np.float64), 0.01)) - 1
    nearest = np.rint(ranks)
    ranks = np.where(np.abs(ranks - nearest) < _SAME_RANK, nearest, ranks)
    return np.where(ndcg > 0, 1 / ranks, ndcg.astype(np.float64))


def _hits(ndcg: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """1 where the target is in the list, 0 where it is not, NaN where it was not measured."""
    return np.where(np.isnan(ndcg), np.nan, (ndcg > 0).astype(np.float64))


def _float32(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)
