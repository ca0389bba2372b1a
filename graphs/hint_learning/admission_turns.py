"""Concurrent runs admit hints in the order of their sessions, until a stopping rule applies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StoppingRules:
    """When to stop looking for hints. A rule that is ``None`` never stops.

    The rules look at sessions in their order, whatever finishes first, so that the same seed leads
    to the same knowledge base.

    Attributes:
        max_admitted: Admitted hints, at least 1.
        max_questions: Questions about the explored sessions, at least 1: rankings, reflections, and
            each hint on its own session. Trials on other sessions come on top; the budget of the
            gateway bounds all.
        patience: Reflections in a row without an admission, at least 1.

    Raises:
        ValueError: If a number is below 1.
    """

    max_admitted: int | None = None
    max_questions: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_admitted", "max_questions", "patience"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")


@dataclass(frozen=True)
class TurnOutcome:
    """The outcome of a session.

    Attributes:
        questions: Its questions, as ``StoppingRules`` counts them.
        reflected: Whether there was an error to reflect on.
        admitted: Hints that it added to the knowledge base.
    """

    questions: int = 0
    reflected: bool = False
    admitted: int = 0


class AdmissionTurns:
    """Gives sessions their turns, so that admissions do not depend on which run finishes first.

    Args:
        session_ids: The sessions in order; a session that is not listed never waits.
        rules: When to stop.
    """

    def __init__(self, session_ids: Sequence[str] = (), rules: StoppingRules | None = None) -> None:
        # A repeated id has one turn: a second one would never end.
        order = dict.fromkeys(session_ids)
        self._positions = {session_id: position for position, session_id in enumerate(order)}
        self._rules = rules or StoppingRules()
        self._done: dict[int, TurnOutcome] = {}
        self._next = 0
        self._changed = asyncio.Event()
        self._admitted = 0
        self._fruitless = 0
        self.questions = 0
        """Questions of the sessions whose turn is over."""
        self.ended: str | None = None
        """Which rule applied, in words; later sessions admit nothing."""

    async def wait(self, session_id: str) -> None:
        """Wait until every earlier session is done."""
        position = self._positions.get(session_id)
        while position is not None and self._next < position:
            changed = self._changed
            await changed.wait()

    def done(self, session_id: str, outcome: TurnOutcome | None = None) -> None:
        """Mark a session as done, whether or not it admitted anything."""
        position = self._positions.get(session_id)
        if position is None or position in self._done:
            return
        self._done[position] = outcome or TurnOutcome()
        while self._next in self._done:
            self._count(self._done[self._next])
            self._next += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _count(self, outcome: TurnOutcome) -> None:
        if self.ended is not None:
            return
        self.questions += outcome.questions
        self._admitted += outcome.admitted
        if outcome.reflected:
            self._fruitless = 0 if outcome.admitted else self._fruitless + 1
        rules = self._rules
        if rules.max_admitted is not None and self._admitted >= rules.max_admitted:
            self.ended = f"{self._admitted} hints admitted"
        elif rules.max_questions is not None and self.questions >= rules.max_questions:
            self.ended = f"{self.questions} questions asked"
        elif rules.patience is not None and self._fruitless >= rules.patience:
            self.ended = f"no admission in {self._fruitless} reflections"
