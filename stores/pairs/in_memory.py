"""The reference preference sink: everything in memory, gone with the process."""

from __future__ import annotations

from collections.abc import Sequence

from agentrec.contracts import PreferenceSink
from agentrec.preferences import PreferencePair


class InMemoryPreferenceSink(PreferenceSink):
    """Pairs in a dictionary. Use a file for anything that was paid for."""

    def __init__(self) -> None:
        self._pairs: dict[str, PreferencePair] = {}

    async def append(self, pairs: Sequence[PreferencePair]) -> int:
        """Keep pairs; see ``PreferenceSink.append``."""
        before = len(self._pairs)
        for pair in pairs:
            self._pairs.setdefault(pair.pair_id, pair)
        return len(self._pairs) - before

    async def all(self) -> list[PreferencePair]:
        """Every pair, in order."""
        return list(self._pairs.values())
