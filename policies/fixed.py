"""Policies that learn nothing: what a trained one has to beat."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrec.hints import Hint, HintChoice
from agentrec.policies.rewards.reward_table import RewardTable


class NoHintPolicy:
    """Never gives a hint."""

    def choose(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> list[HintChoice]:
        """No hint for each of the ``[batch, state_dim]`` states, with certainty."""
        return [HintChoice(hint_id=None, log_probability=0.0) for _ in states]


class FixedHintPolicy:
    """Gives every session the same hint, and none where that hint is not on offer.

    Args:
        hint_id: The hint.
    """

    def __init__(self, hint_id: str) -> None:
        self.hint_id = hint_id

    def choose(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> list[HintChoice]:
        """The hint, if on offer, for each of the ``[batch, state_dim]`` states, with certainty."""
        offered = any(hint.hint_id == self.hint_id for hint in hints)
        hint_id = self.hint_id if offered else None
        return [HintChoice(hint_id=hint_id, log_probability=0.0) for _ in states]


class RandomHintPolicy:
    """Gives each session one of the hints on offer, all equally likely.

    No hint is not among what is drawn: it is chosen only where no hint is on offer. The draw is a
    pure function of the seed, the session's state and the set of hints, so it does not depend on
    the batch, on the order of the hints or on earlier calls; equal states get equal hints.

    Args:
        seed: Another seed, another draw.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def choose(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> list[HintChoice]:
        """A random hint for each of the ``[batch, state_dim]`` states."""
        offered = sorted({hint.hint_id for hint in hints})
        if not offered:
            return NoHintPolicy().choose(states, hints)
        log_probability = -math.log(len(offered))
        # Adding 0 turns -0.0 into 0.0: equal states have equal bytes.
        rows = np.ascontiguousarray(states, dtype=np.float32) + np.float32(0)
        drawn = [offered[self._draw(row) % len(offered)] for row in rows]
        return [HintChoice(hint_id=one, log_probability=log_probability) for one in drawn]

    def _draw(self, state: npt.NDArray[np.float32]) -> int:
        digest = hashlib.sha256(f"{self.seed}:".encode() + state.tobytes()).digest()
        return int.from_bytes(digest[:8], "little")


def best_single_hint(table: RewardTable) -> str | None:
    """The hint with the best mean NDCG on a table, to be a ``FixedHintPolicy``.

    It is the best of the hints even where no hint would have been better, so that the row "best
    single hint" of a report always is what it says.

    Args:
        table: Of validation sessions; a hint chosen on the test sessions would be an oracle.

    Returns:
        Its id; of equals the smallest one; ``None`` if the table has no hint or no session.
    """
    if not table.hint_ids or not table.session_ids:
        return None
    means = table.ndcg[:, 1:].mean(axis=0, dtype=np.float64)
    return min(zip((-means).tolist(), table.hint_ids, strict=True))[1]
