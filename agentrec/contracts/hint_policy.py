"""The contract of a hint policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agentrec.hints import Hint, HintChoice


class HintPolicy(Protocol):
    """Chooses, for each session, the hint to give the language model, or none.

    Acting never trains; a trainer is a separate object. ``choose`` computes and does not wait:
    callers in an event loop run it in a thread when the batch is large.
    """

    def choose(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> list[HintChoice]:
        """Choose for a batch of sessions.

        Args:
            states: Encoded sessions, shape ``[batch, state_dim]``.
            hints: The hints on offer; "no hint" is on offer always and is not listed.

        Returns:
            One choice a session, in order. A chosen ``hint_id`` is one of those on offer.
        """
        ...
