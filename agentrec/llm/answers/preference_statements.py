"""Parse preference statements: a factor, the preference, and the evidence for it."""

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
        evidence: What in the history shows it, ``None`` if not given.
    """

    factor: str
    preference: str
    evidence: str | None = None


def factor_block(factors: Iterable[str]) -> str:
    """Return factors as a prompt shows them: one a line, as data."""
    cleaned = (clean_text(factor, MAX_FACTOR_LENGTH) for factor in factors)
    return "\n".join(as_data(factor) for factor in cleaned if factor)


def parse_preference(answer: str, factors: Sequence[str] = ()) -> list[StatedPreference]:
    """Parse lines of the form ``factor: preference (evidence)``, numbered, bulleted or bare.

    A JSON list ``{"preferences": [...]}`` of such texts, or of objects with a factor, a
    preference and an evidence, is parsed as well.

    Args:
        answer: The model's text.
        factors: The requested factors: only these count, in any letter case, and are returned as
            they are written here. Without any, every factor counts.

    Returns:
        One preference a factor, the first of each, in the order of the answer.
    """
    asked = {_folded(factor): factor for factor in factors}
    found: dict[str, StatedPreference] = {}
    for factor, rest in _statements(answer, asked):
        key = _folded(factor)
        preference, evidence = _split_evidence(rest)
        if key and preference and (not asked or key in asked) and key not in found:
            found[key] = StatedPreference(asked.get(key, factor), preference, evidence)
    return list(found.values())


def _statements(answer: str, asked: Iterable[str]) -> Iterable[tuple[str, str]]:
    given = find_list(answer, "preferences")
    if given is None:
        for line in answer.splitlines():
            yield _split_at_colon(sentence_of(line))
        return
    for texts in given.elements:
        lines = [sentence_of(text) for text in texts]
        if len(lines) == 1:
            yield _split_at_colon(lines[0])
        elif lines:
            # Objects name their factor in any field, usually the first.
            factor = next((n for n, text in enumerate(lines) if _folded(text) in asked), 0)
            preference, *evidence = lines[:factor] + lines[factor + 1 :]
            yield lines[factor], f"{preference} ({evidence[0]})" if evidence else preference


def _split_at_colon(line: str) -> tuple[str, str]:
    positions = [line.find(colon) for colon in _COLONS if colon in line]
    if not positions:
        return "", ""
    return line[: min(positions)].strip(), line[min(positions) + 1 :].strip()


def _split_evidence(text: str) -> tuple[str, str | None]:
    """Return the text before the last brackets, and the text in them."""
    ended = text.rstrip(" .;,")
    depth = 0
    if ended.endswith(")"):
        for index in range(len(ended) - 1, -1, -1):
            depth += (ended[index] == ")") - (ended[index] == "(")
            if depth == 0:
                evidence = clean_text(ended[index + 1 : -1], MAX_STATEMENT_LENGTH)
                return clean_text(ended[:index], MAX_STATEMENT_LENGTH), evidence or None
    return clean_text(text, MAX_STATEMENT_LENGTH), None


def _folded(factor: str) -> str:
    # A "factor" as long as a paragraph is none.
    return clean_text(factor, MAX_FACTOR_LENGTH).casefold() if len(factor) <= 200 else ""
