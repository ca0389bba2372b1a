"""The contract of a model that scores how much a preference text helps a recommender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.preferences import PreferenceReward
from agentrec.sessions import Session


class RewardModel(Protocol):
    """Scores texts about the users of sessions; it is frozen, and scoring never trains it.

    The method may be awaited from an event loop: an implementation moves blocking work to a thread.
    """

    @property
    def parameter_hash(self) -> str:
        """Equal for equal models: the same texts get the same rewards."""
        ...

    async def score(
        self, sessions: Sequence[Session], texts: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[PreferenceReward | None]]:
        """Score texts.

        Args:
            sessions: Sessions with targets and candidates; may be none.
            texts: For each of them its texts, in any number, none included.

        Returns:
            The same shape: a reward for each text, ``None`` where it could not be scored. A reward
            does not depend on the other texts.

        Raises:
            ValueError: If there are not as many lists as sessions, or a session has no target or
                no candidates.
        """
        ...
