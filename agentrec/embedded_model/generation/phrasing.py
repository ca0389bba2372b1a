"""From the model's words to text a person reads, word by word, so that it can be streamed."""

from __future__ import annotations

from collections.abc import Iterable

from agentrec.embedded_model.generation.reading import Task
from agentrec.embedded_model.teaching.wording import HINT_END

_MARKS = frozenset({".", ",", ":", "?"})
_LISTS = frozenset({"hints", "preference"})


class Phrasing:
    """Says the words of one answer: spaces, capital letters, numbered lines, full stops.

    Args:
        task: What the answer is: sentences, numbered hints, or ``factor: preference`` lines.
        count: Most lines of a list.
    """

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        self._count = count
        self._lines = 0
        self._line: list[str] = []
        self._factor: str | None = None
        self._last = ""

    def say(self, word: str) -> str:
        """What the next word adds to the text; nothing for words behind the last line."""
        if self._task in _LISTS:
            return self._say_in_list(word)
        starts = self._last in {"", ".", "?"}
        added = self._spaced(word, capital=starts)
        self._last = word
        return added

    def end(self) -> str:
        """What the end of the answer adds to the text."""
        if self._task in _LISTS:
            return self._closed() if self._line else ""
        return "" if self._last in {"", ".", "?"} else "."

    def _say_in_list(self, word: str) -> str:
        if word == HINT_END:
            added = self._closed() if self._line else ""
            self._line, self._factor, self._last = [], None, ""
            return added
        if not self._line:
            if self._lines == self._count:
                return ""
            self._lines += 1
        first = not self._line
        self._line.append(word)
        if self._task == "preference":
            if first:
                self._factor = word.replace("_", " ")
            else:
                said = word.replace("_", " ").removeprefix(f"{self._factor} ")
                word = said.replace(" ", "_")
        start = "" if self._lines == 1 else "\n"
        number = f"{start}{self._lines}. " if self._task == "hints" else start
        added = self._spaced(word, capital=first and self._task == "hints")
        self._last = word
        return f"{number}{added}" if first else added

    def _closed(self) -> str:
        return "." if self._task == "hints" else ""

    def _spaced(self, word: str, *, capital: bool) -> str:
        text = word.replace("_", " ")
        if capital:
            text = text[:1].upper() + text[1:]
        return text if word in _MARKS or not self._last else f" {text}"


def phrased(task: Task, count: int, words: Iterable[str]) -> str:
    """The text of a whole answer."""
    phrasing = Phrasing(task, count)
    return "".join([*(phrasing.say(word) for word in words), phrasing.end()])
