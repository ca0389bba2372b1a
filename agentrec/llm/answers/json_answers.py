"""Finding a list in an answer that is JSON, or was meant to be.

Models wrap JSON in prose and code fences, quote it the Python way and are cut off in the middle.
A strict reader makes nothing of that; this one takes every element that is complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_DEEPEST = 6
_MOST_TRIES = 4

# An object or list of texts. Where it does not start its line, only a word or two of prose may
# stand before it: what begins like a row of a list ("1. C03 | ...") must not hide an answer in a
# title. "[C07] Heat" is such a row too, so a list starts with a quote or has a comma.
_START = re.compile(
    r"""^(?P<before>[^\S\n]*(?:[A-Za-z`][^\n|{\[\d]{0,200})?)"""
    r"""(?:\{(?=\s*["'])|\[(?=\s*["'{]|\s*C\d{1,9}\s*,))""",
    re.MULTILINE,
)
_SPACE = re.compile(r"[\s,]*+")
_QUOTED = {
    '"': re.compile(r'"((?:[^"\\\n]|\\[^\n])*+)"'),
    "'": re.compile(r"'((?:[^'\\\n]|\\[^\n])*+)'"),
}
_BARE = re.compile(r"[^\s,\[\]{}:\"']++")
_COLON = re.compile(r"\s*+:")


@dataclass(frozen=True)
class JsonList:
    """The elements of a list that an answer holds.

    Attributes:
        elements: The texts of each element: one for a text, all values of an object, none for
            what has no text.
        whole: Whether the list was read to its end.
    """

    elements: tuple[tuple[str, ...], ...]
    whole: bool


def find_list(answer: str, field: str) -> JsonList | None:
    """Find the list that an answer gives.

    It is the field of that name of an object, else its first list; or a list that stands alone.

    Args:
        answer: The model's text.
        field: The field's name, in lower case.

    Returns:
        The first list that has an element, ``None`` if there is none. The time is linear in the
        answer's length, whatever is in it.
    """
    at = 0
    for _ in range(_MOST_TRIES):
        start = _START.search(answer, at)
        if start is None:
            return None
        reader = _Reader(answer, start.end() - 1)
        found = _listed(reader.value(0), field)
        if found:
            return JsonList(tuple(found), not reader.cut)
        at = max(reader.at, start.end())
    return None


def find_text(answer: str, field: str) -> str | None:
    """Find the text that an answer gives in an object's field of that name, in lower case.

    Returns:
        The text, ``None`` if the answer is no such object or the text is not complete.
    """
    start = _START.search(answer)
    value = None if start is None else _Reader(answer, start.end() - 1).value(0)
    if not isinstance(value, dict):
        return None
    named = (inner for name, inner in value.items() if name.strip().casefold() == field)
    return next((inner for inner in named if isinstance(inner, str)), None)


def _listed(value: object, field: str) -> Sequence[tuple[str, ...]]:
    """The elements of the list in a value, none if there is no list."""
    if isinstance(value, list):
        return [_texts(element) for element in value]
    if not isinstance(value, dict):
        return ()
    named = [inner for name, inner in value.items() if name.strip().casefold() == field]
    for inner in named:
        if isinstance(inner, str):
            return [(line,) for line in inner.splitlines()]
        if isinstance(inner, dict) and field not in inner:
            # {"1": "C07", "2": "C12"}, or {"C07": 0.9, "C12": 0.8}.
            return [(*_texts(each), name) for name, each in inner.items()]
    # A list before an object: what stands in an object may be about anything.
    for inner in sorted((*named, *value.values()), key=lambda each: isinstance(each, dict)):
        if found := _listed(inner, field):
            return found
    if all(name.strip().isdecimal() for name in value):
        return [_texts(inner) for inner in value.values()]
    return ()


def _texts(element: object) -> tuple[str, ...]:
    if isinstance(element, str):
        return (element,)
    if isinstance(element, dict):
        return tuple(inner for inner in element.values() if isinstance(inner, str))
    return ()


class _Reader:
    """Reads one value; ``at`` is where it stopped, ``cut`` whether that was before its end."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.cut = False

    def value(self, depth: int) -> object:
        self._skip(_SPACE)
        sign = self.text[self.at : self.at + 1]
        if depth > _DEEPEST or not sign:
            self.cut = True
        elif sign == "[":
            return self._list(depth)
        elif sign == "{":
            return self._object(depth)
        elif sign in _QUOTED:
            return self._quoted(sign)
        else:
            return self._bare()
        return None

    def _list(self, depth: int) -> list[object]:
        self.at += 1
        elements: list[object] = []
        while not self._closed("]"):
            element = self.value(depth + 1)
            if self.cut:
                # What is half there may be anything: a title cut short can be another title.
                break
            elements.append(element)
        return elements

    def _object(self, depth: int) -> dict[str, object]:
        self.at += 1
        fields: dict[str, object] = {}
        while not self._closed("}"):
            name = self.value(depth + 1)
            if not isinstance(name, str) or not self._skip(_COLON):
                self.cut = True
            inner = None if self.cut else self.value(depth + 1)
            # A list that is cut off is worth having for the elements before the cut.
            if isinstance(name, str) and (not self.cut or isinstance(inner, (list, dict))):
                fields.setdefault(name, inner)
            if self.cut:
                break
        return fields

    def _quoted(self, sign: str) -> str | None:
        match = _QUOTED[sign].match(self.text, self.at)
        if match is None:
            self.cut = True
            return None
        self.at = match.end()
        if "\\" not in match[1]:
            return match[1]
        try:
            return str(json.loads(f'"{match[1]}"', strict=False))
        except ValueError:
            return match[1].replace("\\", "")

    def _bare(self) -> str | None:
        match = _BARE.match(self.text, self.at)
        if match is None or match.end() == len(self.text):
            self.cut = True
            return None
        self.at = match.end()
        return None if match[0] == "null" else match[0]

    def _closed(self, sign: str) -> bool:
        self._skip(_SPACE)
        if self.text[self.at : self.at + 1] == sign:
            self.at += 1
            return True
        if self.at >= len(self.text):
            self.cut = True
        return self.cut

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match is not None
