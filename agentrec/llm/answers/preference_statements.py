"""A user's preferences as a model states them: a factor, what is preferred, and what shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentrec.catalog import clean_text
from agentrec.llm.answers.json_answers import find_list
from agentrec.llm.answers.parsing import sentence_of
from agentrec.llm.prompts.session_view import as_data

MAX_FACTOR_LENGTH = 60
MAX_STATEMENT_LENGTH = 300

_COLONS = (":", "\N{FULLWIDTH COLON}")


@dataclass(frozen=True)
class StatedPreference:
    """One preference.

    Attributes:
        factor: What it is about, such as ``period``.
        preference: What the user prefers.
        evidence: What in the history shows it, ``None`` where nothing was given.
    """

    factor: str
    preference: str
    evidence: str | None = None


def factor_block(factors: Iterable[str]) -> str:
    """Factors as a prompt shows them: one a line, as data."""
    cleaned = (clean_text(factor, MAX_FACTOR_LENGTH) for factor in factors)
    return "\n".join(as_data(factor) for factor in cleaned if factor)


def parse_preference(answer: str, factors: Sequence[str] = ()) -> list[StatedPreference]:
    """Read lines of the form ``factor: preference (evidence)``, numbered, bulleted or bare.

    The same in a JSON list ``{"preferences": [...]}``, as texts or as objects of a factor, a
    preference and an evidence, is read as well.

    Args:
        answer: The model's text.
        factors: The factors that were asked for: however cased, only these count, and they come
            back as they are written here. None given, any may come.

    Returns:
        One preference a factor, the first of each, in the order of the answer.
    """
    asked = {_folded(factor): factor for factor in factors}
    found: dict[str, StatedPreference] = {}
    for factor, rest in _statements(answer, asked):
        key = _folded(factor)
        preference, evidence = _parted(rest)
        if key and preference and (not asked or key in asked) and key not in found:
            found[key] = StatedPreference(asked.get(key, factor), preference, evidence)
    return list(found.values())


def _statements(answer: str, asked: Iterable[str]) -> Iterable[tuple[str, str]]:
    given = find_list(answer, "preferences")
    if given is None:
        for line in answer.splitlines():
            yield _cut_at_colon(sentence_of(line))
        return
    for texts in given.elements:
        lines = [sentence_of(text) for text in texts]
        if len(lines) == 1:
            yield _cut_at_colon(lines[0])
        elif lines:
            # Objects name their factor in any of their fields, by habit in the first.
            at = next((n for n, text in enumerate(lines) if _folded(text) in asked), 0)
            preference, *evidence = lines[:at] + lines[at + 1 :]
            yield lines[at], f"{preference} ({evidence[0]})" if evidence else preference


def _cut_at_colon(line: str) -> tuple[str, str]:
    places = [line.find(colon) for colon in _COLONS if colon in line]
    if not places:
        return "", ""
    return line[: min(places)].strip(), line[min(places) + 1 :].strip()


def _parted(text: str) -> tuple[str, str | None]:
    """What stands before the last brackets, and what stands in them."""
    ended = text.rstrip(" .;,")
    depth = 0
    if ended.endswith(")"):
        for place in range(len(ended) - 1, -1, -1):
            depth += (ended[place] == ")") - (ended[place] == "(")
            if depth == 0:
                evidence = clean_text(ended[place + 1 : -1], MAX_STATEMENT_LENGTH)
                return clean_text(ended[:place], MAX_STATEMENT_LENGTH), evidence or None
    return clean_text(text, MAX_STATEMENT_LENGTH), None


def _folded(factor: str) -> str:
    # A statement whose "factor" is a paragraph is no statement.
    return clean_text(factor, MAX_FACTOR_LENGTH).casefold() if len(factor) <= 200 else ""
