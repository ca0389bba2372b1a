"""The answers that were used last, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from agentrec.llm.journal.journal_rows import JournaledAnswer

# What an answer takes in memory beside its text.
_OVERHEAD = 400


class RecentAnswers:
    """Answers by key; those not used for longest make room for new ones.

    Args:
        memory: About how many bytes to hold, at least 0.

    Raises:
        ValueError: If ``memory`` is below 0.
    """

    def __init__(self, memory: int) -> None:
        if memory < 0:
            raise ValueError("memory must be at least 0")
        self._answers: OrderedDict[str, JournaledAnswer] = OrderedDict()
        self._room = memory

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> JournaledAnswer | None:
        """The answer under a key, if it is still held."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def hold(self, key: str, answer: JournaledAnswer) -> None:
        """Hold an answer, unless there is one under this key."""
        if key in self._answers:
            return
        self._answers[key] = answer
        self._room -= _weight(answer)
        while self._room < 0:
            _, oldest = self._answers.popitem(last=False)
            self._room += _weight(oldest)


def _weight(answer: JournaledAnswer) -> int:
    return len(answer.text) + _OVERHEAD
