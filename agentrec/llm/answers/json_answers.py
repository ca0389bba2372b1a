"""Find a list in an answer that is JSON, or was meant to be.

Models wrap JSON in prose and code fences, quote it the Python way and are cut off in the middle.
Python's own reader takes what is complete, pydantic's partial reader what is cut off, and a
pattern the quoted texts and handles of everything else. All take time linear in the length of the
answer, whatever it contains. (json-repair 0.64 needs three minutes for 100 kB of ``["``.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import from_json

_MAX_ATTEMPTS = 4

# An object or list of texts. Where it does not start its line, only a word or two of prose may
# precede it: what begins like a row of a list ("1. C03 | ...") must not hide an answer in a
# title. "[C07] Heat" is such a row too, so a list starts with a quote or has a comma.
_START = re.compile(
    r"""^(?P<before>[^\S\n]*(?:[A-Za-z`][^\n|{\[\d]{0,200})?)"""
    r"""(?:\{(?=\s*["'])|\[(?=\s*["'{]|\s*C\d{1,9}\s*,))""",
    re.MULTILINE,
)
# Numbers stay texts: a title may be one.
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
# Elements of a list that no reader takes, and what ends it: a bracket, or a quote left open.
_TOKEN = re.compile(
    r""""(?P<double>(?:[^"\\\n]|\\[^\n])*+)"|'(?P<single>(?:[^'\\\n]|\\[^\n])*+)'"""
    r"""|(?P<handle>\bC\d{1,9}\b)(?=\s*[,\]])|(?P<end>[\]}\[{"'])"""
)


@dataclass(frozen=True)
class JsonList:
    """The elements of a list in an answer.

    Attributes:
        elements: The texts of each element: one for a text, all values of an object, none for
            an element without a text.
        whole: Whether the list was read to its end.
    """

    elements: tuple[tuple[str, ...], ...]
    whole: bool


def find_list(answer: str, field: str) -> JsonList | None:
    """Find the list in an answer.

    It is the field of that name of an object, else its first list; or a list that stands alone.

    Args:
        answer: The model's text.
        field: The field's name, in lower case.

    Returns:
        The first list that has an element, ``None`` if there is none. Of a list that is cut off
        or malformed the complete elements up to there: half a title may be another title.
    """
    position = 0
    for _ in range(_MAX_ATTEMPTS):
        start = _START.search(answer, position)
        if start is None:
            return None
        opening = start.end() - 1
        position = start.end()
        try:
            value, position = _DECODER.raw_decode(answer, opening)
        except (ValueError, RecursionError):
            elements, whole = _read_broken(answer[opening:], field)
        else:
            elements, whole = _elements(value, field), True
        if elements:
            return JsonList(tuple(elements), whole)
    return None


def find_text(answer: str, field: str) -> str | None:
    """Find the text in an object's field of that name, in lower case.

    Returns:
        The text; ``None`` if the answer is no such object or the text is incomplete.
    """
    start = _START.search(answer)
    if start is None:
        return None
    value = _partial(answer[start.end() - 1 :])
    if isinstance(value, dict):
        return next((inner for inner in _named(value, field) if isinstance(inner, str)), None)
    named = re.compile(rf"""["']{field}["']\s*:\s*""", re.IGNORECASE).search(answer, start.end())
    match = None if named is None else _TOKEN.match(answer, named.end())
    return None if match is None or match["end"] else _unescaped(match[match.lastgroup or 0])


def _read_broken(text: str, field: str) -> tuple[Sequence[tuple[str, ...]], bool]:
    """Return the elements of JSON that is cut off or malformed, and whether it seems complete."""
    start = re.search(rf"""(?:["']{field}["']\s*:\s*|\A)\[(?=\s*["'C])""", text, re.IGNORECASE)
    if start is None:
        # Parts of the last element may be missing.
        return _elements(_partial(text), field)[:-1], False
    elements: list[tuple[str, ...]] = []
    for match in _TOKEN.finditer(text, start.end()):
        if match["end"]:
            return elements, match["end"] in "]}"
        elements.append((_unescaped(match[match.lastgroup or 0]),))
    return elements, False


def _partial(text: str) -> object:
    try:
        return from_json(text, allow_partial=True)
    except ValueError:
        return None


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace("\\", "")


def _named(value: dict[str, object], field: str) -> list[object]:
    return [inner for name, inner in value.items() if name.strip().casefold() == field]


def _elements(value: object, field: str) -> Sequence[tuple[str, ...]]:
    """Return the elements of the list in a value; none if there is no list."""
    if isinstance(value, list):
        return [_texts(element) for element in value]
    if not isinstance(value, dict):
        return ()
    named = _named(value, field)
    for inner in named:
        if isinstance(inner, str):
            return [(line,) for line in inner.splitlines()]
        if isinstance(inner, dict) and field not in inner:
            # {"1": "C07", "2": "C12"}, or {"C07": 0.9, "C12": 0.8}.
            return [(*_texts(each), name) for name, each in inner.items()]
    # A list before an object: an object may be about anything.
    for inner in sorted((*named, *value.values()), key=lambda each: isinstance(each, dict)):
        if found := _elements(inner, field):
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
