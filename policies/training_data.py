"""Rewarded offers with one column for each hint, for trainers that treat every hint by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintOffer, RewardedOffer


def check_training(train: RewardedOffer, valid: RewardedOffer | None) -> None:
    """Check that there is something to learn from.

    Raises:
        ValueError: If there is no session, or the two do not fit each other.
    """
    if not len(train):
        raise ValueError("there is no training session")
    if valid is None:
        return
    if not len(valid):
        raise ValueError("there is no validation session; pass None to do without")
    if valid.offer.states.shape[1] != train.offer.states.shape[1]:
        raise ValueError(
            f"training states are {train.offer.states.shape[1]} wide and validation states "
            f"{valid.offer.states.shape[1]}"
        )


def offered_hint_ids(offer: HintOffer) -> tuple[str, ...]:
    """Return the ids of the hints that some session may be given, sorted."""
    offered = np.unique(offer.candidates[offer.present])
    return tuple(sorted(offer.hints[index].hint_id for index in offered))


def align_to_hints(
    offer: HintOffer, columns: npt.NDArray[np.float32], hint_ids: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Move the values of candidates to the columns of their hints.

    Args:
        offer: The offer.
        columns: A value for every candidate, shape ``[batch, width]``.
        hint_ids: The hints to keep, in order.

    Returns:
        Shape ``[batch, len(hint_ids)]``; NaN where a session was not offered a hint.
    """
    column = {hint_id: at for at, hint_id in enumerate(hint_ids)}
    # Hints that are not asked for, and "no candidate", share one column, which is then dropped.
    target = np.array([column.get(one, len(hint_ids)) for one in (*offer.hint_ids, "")])
    spread = np.full((len(offer), len(hint_ids) + 1), np.nan, dtype=np.float32)
    np.put_along_axis(spread, target[offer.candidates], columns, axis=1)
    return spread[:, :-1]
