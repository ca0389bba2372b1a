"""Concurrent runs that store hints in the order of their sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


class AdmissionTurns:
    """Hands out turns, so that what is stored does not depend on which run finishes first.

    Args:
        session_ids: The sessions in the order in which they may store; a session that is not
            listed never waits.
    """

    def __init__(self, session_ids: Sequence[str] = ()) -> None:
        # A repeated id has one turn; with two, the first would never be declared done.
        order = dict.fromkeys(session_ids)
        self._place = {session_id: place for place, session_id in enumerate(order)}
        self._done: set[int] = set()
        self._next = 0
        self._changed = asyncio.Event()

    async def wait(self, session_id: str) -> None:
        """Return when every session before this one has declared itself done."""
        place = self._place.get(session_id)
        while place is not None and self._next < place:
            changed = self._changed
            await changed.wait()

    def done(self, session_id: str) -> None:
        """Declare a session done, whether or not it stored anything."""
        place = self._place.get(session_id)
        if place is None:
            return
        self._done.add(place)
        while self._next in self._done:
            self._next += 1
        self._changed.set()
        self._changed = asyncio.Event()
