"""One hint for everybody, the best on average: the bar for policies that look at sessions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agentrec.hint_offers import RewardedOffer
from agentrec.policies.hint_policies.untrained import FixedHintPolicy, NoHintPolicy, NoSettings
from agentrec.policies.training_data import align_to_hints, check_training, offered_hint_ids


class BestSingleHintTrainer:
    """Picks the hint with the best mean reward on the validation sessions.

    It is the best of the hints even where no hint would have been better, so that the row "best
    single hint" of a report always is what it says. A hint that was measured on few sessions is
    judged by those few: where hints are not measured alike, luck may pick.

    Args:
        settings: There are none.
    """

    def __init__(self, settings: NoSettings | None = None) -> None:
        self.settings = settings or NoSettings()

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> FixedHintPolicy | NoHintPolicy:
        """Pick the hint.

        Args:
            train: Training sessions, at least one; used only if there is no ``valid``.
            valid: Validation sessions, never test sessions: of those it would be an oracle.
            seed: Changes nothing.
            on_progress: Called once, at the end.

        Returns:
            The hint, of equals the one with the smallest id; no hint where none was measured.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        check_training(train, valid)
        measured = train if valid is None else valid
        ids = offered_hint_ids(measured.offer)
        rewards = align_to_hints(measured.offer, measured.rewards[:, 1:], ids)
        known = np.isfinite(rewards)
        times = known.sum(axis=0)
        means = np.where(known, rewards, 0).sum(axis=0, dtype=np.float64) / np.maximum(times, 1)
        if on_progress is not None:
            on_progress(1, 1)
        if not times.any():
            return NoHintPolicy()
        return FixedHintPolicy(ids[int(np.where(times > 0, means, -np.inf).argmax())])
