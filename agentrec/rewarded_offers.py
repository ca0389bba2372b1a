"""What each option of an offer brought: what policies are trained and measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintChoices, HintOffer


@dataclass(frozen=True, eq=False)
class RewardedOffer:
    """An offer and what each option of it brought: what policies are trained and measured on.

    Attributes:
        offer: The sessions and what each was offered.
        rewards: Reward of every option, float32, shape ``[batch, 1 + width]``: NDCG@10 with the
            option minus without, -1 to 1, unless it was shaped in another way. Column 0, no
            hint, is 0. NaN where there is no candidate, and where nobody measured it.

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
            raise ValueError("the reward of no hint is 0")
        if bool((np.isfinite(self.rewards[:, 1:]) & ~self.offer.present).any()):
            raise ValueError("a reward stands where there is no candidate")
        if bool(np.isinf(self.rewards).any()):
            raise ValueError("rewards hold a value that is not finite")

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self.offer)

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which rewards are known, shape ``[batch, 1 + width]``."""
        known: npt.NDArray[np.bool_] = np.isfinite(self.rewards)
        return known

    def rows(self, places: Sequence[int] | npt.NDArray[np.int64] | slice) -> Self:
        """Some of the sessions, in the order given."""
        return type(self)(self.offer.rows(places), self.rewards[places])

    def gained(self, choices: HintChoices) -> npt.NDArray[np.float32]:
        """What choices on this very offer brought, ``[batch]``; NaN where nobody measured it."""
        if choices.offer is not self.offer:
            raise ValueError("the choices were made on another offer")
        gained: npt.NDArray[np.float32] = self.rewards[np.arange(len(self)), choices.options]
        return gained
