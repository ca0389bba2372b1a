"""Trainers of the policies that have nothing to learn, so that every kind has one."""

from __future__ import annotations

from collections.abc import Callable

from agentrec.contracts import HintPolicy
from agentrec.policies.fixed import (
    FixedHintPolicy,
    FixedHintSettings,
    NoHintPolicy,
    NoSettings,
    RandomHintPolicy,
)
from agentrec.policies.nearest import NearestHintPolicy, NearestHintSettings
from agentrec.policies.training_data import check_training
from agentrec.rewarded_offers import RewardedOffer


class _Untrained:
    """Makes a policy of a seed alone.

    Args:
        make: From the seed of ``fit`` to the policy.
    """

    def __init__(self, make: Callable[[int], HintPolicy]) -> None:
        self._make = make

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> HintPolicy:
        """Make the policy; the sessions are checked, as by any trainer, and not looked at."""
        check_training(train, valid)
        if on_progress is not None:
            on_progress(1, 1)
        return self._make(seed)


class NoHintTrainer(_Untrained):
    """Gives a ``NoHintPolicy``."""

    def __init__(self, settings: NoSettings | None = None) -> None:
        super().__init__(lambda seed: NoHintPolicy())


class FixedHintTrainer(_Untrained):
    """Gives a ``FixedHintPolicy`` of the hint in the settings."""

    def __init__(self, settings: FixedHintSettings) -> None:
        super().__init__(lambda seed: FixedHintPolicy(settings.hint_id))


class RandomHintTrainer(_Untrained):
    """Gives a ``RandomHintPolicy`` with the seed that ``fit`` is given."""

    def __init__(self, settings: NoSettings | None = None) -> None:
        super().__init__(RandomHintPolicy)


class NearestHintTrainer(_Untrained):
    """Gives a ``NearestHintPolicy`` as near as the settings ask for."""

    def __init__(self, settings: NearestHintSettings | None = None) -> None:
        least = None if settings is None else settings.min_similarity
        super().__init__(lambda seed: NearestHintPolicy(least))
