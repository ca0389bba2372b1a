"""The contract of where preference pairs go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrec.preferences import PreferencePair


class PreferenceSink(Protocol):
    """Keeps preference pairs, each once, in the order in which they were first appended.

    Every method may be awaited from an event loop: an implementation moves blocking work to a
    thread. What was appended when ``append`` returned survives a crash; of pairs that were being
    appended, a crash leaves the first ones whole or none.

    An implementation raises ``StoreError`` when its storage fails or holds what it did not write.
    """

    async def append(self, pairs: Sequence[PreferencePair]) -> int:
        """Keep pairs.

        Args:
            pairs: The pairs; one whose ``pair_id`` is there already is not kept again.

        Returns:
            How many are new.
        """
        ...

    async def all(self) -> Sequence[PreferencePair]:
        """Every pair, in order."""
        ...
