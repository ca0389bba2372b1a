"""The contracts of a hint policy and of what trains one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer


class HintPolicy(Protocol):
    """Chooses, for each session, the hint to give the language model, or none.

    Acting never trains; a trainer is a separate object. ``choose`` computes and does not wait:
    callers in an event loop run it in a thread, unless it is known to be fast.
    """

    def choose(self, offer: HintOffer) -> HintChoices:
        """Choose for a batch of sessions.

        Args:
            offer: The sessions and the hints that each may be given; "no hint" is always
                an option. An offer may hold hints that the policy was not trained on.

        Returns:
            One choice for each session, in order, with its log-probability and value, and the
            scores of all options.

        Raises:
            ValueError: If the states are not of the width that the policy was trained on.
        """
        ...


class HintPolicyTrainer(Protocol):
    """Trains a policy on rewards that were measured beforehand; it never acts.

    ``fit`` computes, for seconds to minutes, and does not wait: callers in an event loop run it
    in a thread.
    """

    def fit(
        self,
        train: RewardedOffer,
        valid: RewardedOffer | None = None,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> HintPolicy:
        """Train a policy.

        Args:
            train: Training sessions; at least one. Rewards that were not measured are NaN.
            valid: Validation sessions: they make every choice between models, never ``train``.
            seed: Same seed, data and settings on the same machine: the same policy.
            on_progress: Called with steps done and in all; what it raises ends the training.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        ...
