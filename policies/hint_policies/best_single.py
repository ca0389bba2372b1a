"""One hint for everybody, picked by what it brought: the bar for all that looks at sessions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agentrec.policies.hint_policies.untrained import FixedHintPolicy, NoHintPolicy, NoSettings
from agentrec.policies.training_data import by_hint, check_training, offered_ids
from agentrec.rewarded_offers import RewardedOffer


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
            train: Training sessions, at least one; looked at only if there is no ``valid``.
            valid: Validation sessions.
            seed: Changes nothing.
            on_progress: Called once, at the end.

        Returns:
            The hint, of equals the one with the smallest id; no hint where none was measured.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        check_training(train, valid)
        best = best_single_hint(train if valid is None else valid)
        if on_progress is not None:
            on_progress(1, 1)
        return NoHintPolicy() if best is None else FixedHintPolicy(best)


def best_single_hint(measured: RewardedOffer) -> str | None:
    """The hint with the best mean reward over the sessions on which it was measured.

    Args:
        measured: Never of the test sessions; a hint chosen on those would be an oracle.

    Returns:
        Its id; of equals the smallest one; ``None`` where no hint was measured.
    """
    ids = offered_ids(measured.offer)
    rewards = by_hint(measured.offer, measured.rewards[:, 1:], ids)
    known = np.isfinite(rewards)
    times = known.sum(axis=0)
    means = np.where(known, rewards, 0).sum(axis=0, dtype=np.float64) / np.maximum(times, 1)
    if not times.any():
        return None
    return ids[int(np.where(times > 0, means, -np.inf).argmax())]
