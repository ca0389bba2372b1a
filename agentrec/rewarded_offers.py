"""Offers with the reward of each option: the data that policies are trained and measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintChoices, HintOffer


@dataclass(frozen=True, eq=False)
class RewardedOffer:
    """An offer and the reward of each of its options.

    Attributes:
        offer: The sessions and the hints offered to each.
        rewards: Reward of every option, float32, shape ``[batch, 1 + width]``: NDCG@10 with the
            option minus without, -1 to 1, unless it was shaped in another way. Column 0, no
            hint, is 0. NaN where there is no candidate, or no measurement.

    Raises:
        ValueError: If the shape or a value is not as above.
    """

    offer: HintOffer
    rewards: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.offer), 1 + self.offer.width)
        if self.rewards.shape != shape:
            raise ValueError(f"rewards have shape {list(self.rewards.shape)}, not {list(shape)}")
        if not bool((self.rewards[:, 0] == 0).all()):
            raise ValueError("the reward of no hint must be 0")
        if bool((np.isfinite(self.rewards[:, 1:]) & ~self.offer.present).any()):
            raise ValueError("a reward belongs to no candidate")
        if bool(np.isinf(self.rewards).any()):
            raise ValueError("rewards hold a value that is not finite")

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.offer)

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which rewards are measured, shape ``[batch, 1 + width]``."""
        known: npt.NDArray[np.bool_] = np.isfinite(self.rewards)
        return known

    def rows(self, indices: Sequence[int] | npt.NDArray[np.int64] | slice) -> Self:
        """Return some of the sessions, in the order given."""
        return type(self)(self.offer.rows(indices), self.rewards[indices])

    def gained(self, choices: HintChoices) -> npt.NDArray[np.float32]:
        """Return the rewards of choices on this very offer, ``[batch]``; NaN where not measured."""
        if choices.offer is not self.offer:
            raise ValueError("the choices were made on another offer")
        gained: npt.NDArray[np.float32] = self.rewards[np.arange(len(self)), choices.options]
        return gained
