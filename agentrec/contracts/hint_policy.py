"""The contracts of a hint policy and of what trains one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agentrec.hint_offers import HintChoices, HintOffer
from agentrec.rewarded_offers import RewardedOffer


class HintPolicy(Protocol):
    """Chooses, for each session, the hint to give the language model, or none.

    Acting never trains; a trainer is a separate object. ``choose`` computes and does not wait:
    callers in an event loop run it in a thread, unless it has shown to take no time.
    """

    def choose(self, offer: HintOffer) -> HintChoices:
        """Choose for a batch of sessions.

        Args:
            offer: The sessions and the hints that each may be given; "no hint" is on offer
                always. Hints may be there that the policy was never trained on.

        Returns:
            One choice a session, in order, with the log-probability and value of each and the
            scores of everything on offer.

        Raises:
            ValueError: If the states are not of the width that the policy was trained on.
        """
        ...


class HintPolicyTrainer(Protocol):
    """Makes a policy out of rewards that were measured beforehand; it never acts.

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
            valid: Validation sessions: what is picked is picked by these, never by ``train``.
            seed: Same seed, data and settings on the same machine: the same policy.
            on_progress: Called now and then with steps done and steps in all; what it raises
                ends the training.

        Raises:
            ValueError: If there is no session, or the two do not fit each other.
        """
        ...
