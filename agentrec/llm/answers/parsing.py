"""Parse a model's answer: a ranked list, hints or a question, in lines or as JSON."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from agentrec.catalog import clean_text
from agentrec.llm.answers.json_answers import find_list, find_text
from agentrec.llm.prompts.session_view import SessionView, as_data

MAX_QUESTION_LENGTH = 300

# A bullet or bold marks, then perhaps a number: "1.", "(1)", "- 1:", "**1.**", "| 1 |", "1 - ".
_MARK = re.compile(
    r"(?P<bullet>(?:[-–—•>|]|\*(?=\s))\s*)?[\s*_]*"
    r"(?:#?[(\[]?(?P<number>\d{1,3})(?:\s*(?:[.:](?!\d)|[)\]|])+|\s+[-–—](?=\s)|(?=\s+C\d))[*_]*)?\s*"
)
_HANDLE = re.compile(r"[\[(*\"'`_]*C(?P<number>\d{1,9})\b", re.IGNORECASE)
_QUESTION = re.compile(r"(?i)question\s*:\s*")
_QUESTION_MARKS = "?？؟"
_YEAR_BEHIND = re.compile(r"\((?:19|20)\d\d\)$")
_ARTICLE_BEHIND = re.compile(r"(?P<name>.+), *(?P<article>the|an?)$")


@dataclass(frozen=True)
class ParsedRanking:
    """The candidates that an answer names.

    Attributes:
        item_ids: The candidates it names, in order, each once.
        illegal: Number of its lines or elements that name no candidate, or one named before.
        structured: Whether it was read as JSON.
    """

    item_ids: tuple[str, ...]
    illegal: int
    structured: bool = False


def parse_ranking(answer: str, view: SessionView) -> ParsedRanking:
    """Parse a ranked list.

    A JSON answer, such as ``{"ranking": ["C07", "C12"]}``, bare or in a code fence, counts with
    every element; one that is cut off or malformed with those up to there, unless its lines name
    more. In any other answer a line counts if it is numbered or starts with a handle.

    A handle decides; without one the whole rest must be a candidate's label (letter case,
    punctuation, accents, an article behind a comma and a year in brackets aside). A label that is
    part of a longer one never matches ("Heat", "Heathers"), and one that several candidates share
    matches none.

    Args:
        answer: The model's text.
        view: The session as the model saw it.
    """
    labels = _Labels(view)
    given = find_list(answer, "ranking")
    if given is None:
        return _collected(_named_by_lines(answer, labels), structured=False)
    listed = _collected(
        (_named_by_element(texts, labels) for texts in given.elements), structured=True
    )
    if given.whole and listed.item_ids:
        return listed
    lines = _collected(_named_by_lines(answer, labels), structured=False)
    return lines if len(lines.item_ids) > len(listed.item_ids) else listed


def parse_lines(answer: str, limit: int) -> list[str]:
    """Parse a list of sentences: the text of each numbered or bulleted line, each once.

    A JSON answer, such as ``{"hints": ["Prefer ..."]}``, gives its complete elements.
    Any other answer without a marked line counts as one sentence a line.

    Args:
        answer: The model's text.
        limit: Most sentences to return.
    """
    given = find_list(answer, "hints")
    if given is not None:
        elements = [" ".join(texts[0].split()) for texts in given.elements if texts]
        return _different(_split(element)[2] for element in elements)[: max(limit, 0)]
    parts = [_split(line) for line in answer.splitlines()]
    marked = _different(rest for bulleted, numbered, rest in parts if bulleted or numbered)
    return (marked or _different(rest for _, _, rest in parts))[: max(limit, 0)]


def parse_question(answer: str) -> str:
    """Parse a question to the user.

    Returns:
        The first line with a question mark up to its last one, else the first line with a word,
        without marks of emphasis, quotes and numbers, on one line and capped; empty if the
        answer has no word.
    """
    given = find_text(answer, "question")
    # JSON that is cut off is not a question.
    whole = [line for line in answer.splitlines() if line.lstrip()[:1] not in {"{", "[", "`"}]
    lines = [sentence_of(line) for line in (whole if given is None else [given])]
    for line in lines:
        end = max(line.rfind(mark) for mark in _QUESTION_MARKS) + 1
        if end:
            return _asked(line[:end])
    return next((_asked(line) for line in lines if any(map(str.isalnum, line))), "")


def sentence_of(line: str) -> str:
    """Return a line without its bullet or number, marks of emphasis and quotes."""
    return _unquoted(re.sub(r"[*`]", "", _split(line)[2]))


def _asked(line: str) -> str:
    return clean_text(_unquoted(_QUESTION.sub("", line, count=1)), MAX_QUESTION_LENGTH)


def _different(texts: Iterable[str]) -> list[str]:
    """Return the texts without marks of emphasis, none empty, none twice."""
    different: dict[str, str] = {}
    for text in texts:
        plain = _unquoted(re.sub(r"[*`]", "", text))
        if plain:
            # Sentences that differ only in letter case are one.
            different.setdefault(plain.casefold(), plain)
    return list(different.values())


def _collected(named: Iterable[str | None], *, structured: bool) -> ParsedRanking:
    """Collect the candidates named, each once, and count everything else."""
    item_ids: dict[str, None] = {}
    illegal = 0
    for item_id in named:
        if item_id is None or item_id in item_ids:
            illegal += 1
        else:
            item_ids[item_id] = None
    return ParsedRanking(tuple(item_ids), illegal, structured)


def _named_by_lines(answer: str, labels: _Labels) -> Iterable[str | None]:
    for line in answer.splitlines():
        _, numbered, rest = _split(line)
        if _HANDLE.match(rest) is not None:
            yield labels.handled(rest)
        elif numbered:
            yield labels.find(rest)


def _named_by_element(texts: tuple[str, ...], labels: _Labels) -> str | None:
    """Return the candidate that a text of an element names; a handle counts before any label."""
    lines = [" ".join(text.split()) for text in texts]
    rests = [_split(line)[2] for line in lines]
    for rest in rests:
        if _HANDLE.match(rest) is not None:
            return labels.handled(rest)
    # A title may itself begin like a numbered line.
    found = (labels.find(text) for text in (*lines, *rests))
    return next((item_id for item_id in found if item_id is not None), None)


class _Labels:
    """Candidates by label, compared strictly first and then ever more leniently.

    At each step a form that several candidates share matches none of them, so two films of one
    title are distinguished by their years and never guessed.
    """

    def __init__(self, view: SessionView) -> None:
        self._view = view

    def handled(self, text: str) -> str | None:
        """Return the candidate whose handle a text starts with, if there is one."""
        handle = _HANDLE.match(text)
        index = -1 if handle is None else int(handle["number"]) - 1
        known = self._view.candidate_ids
        return known[index] if 0 <= index < len(known) else None

    def find(self, text: str) -> str | None:
        """Return the one candidate that a text matches at the first step with a match."""
        for normalize, known in self._steps:
            item_id = known.get(normalize(text))
            if item_id is not None:
                return item_id
        return None

    @cached_property
    def _steps(self) -> list[tuple[Callable[[str], str], dict[str, str]]]:
        """The steps, made when first needed: not for answers whose lines all have handles."""
        steps: list[tuple[Callable[[str], str], dict[str, str]]] = []
        for normalize in (_as_shown, _words, _name):
            keys = [normalize(as_data(label)) for label in self._view.candidate_labels]
            seen = Counter(keys)
            pairs = zip(keys, self._view.candidate_ids, strict=True)
            steps.append((normalize, {k: i for k, i in pairs if k and seen[k] == 1}))
        return steps


def _split(line: str) -> tuple[bool, bool, str]:
    """Return whether a line has a bullet, whether it has a number, and the rest of it."""
    # Foreign text can be one endless line, so no pattern here may search for the end of a line
    # from many starts.
    line = " ".join(line.split())
    match = _MARK.match(line)
    if match is None:
        return False, False, line
    return match["bullet"] is not None, match["number"] is not None, line[match.end() :]


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'_":
        return text[1:-1].strip()
    return text


def _as_shown(text: str) -> str:
    return text.strip('*_`" ')


def _words(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Marks stay with their letters: in many scripts they are the vowels.
    return " ".join(
        "".join(
            c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded
        ).split()
    )


def _name(text: str) -> str:
    """Return the words without year and accents, an article in front."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in folded if not "\u0300" <= c <= "\u036f")
    plain = _YEAR_BEHIND.sub("", plain.rstrip("*_`\"'.,;: ")).rstrip("*_`\"'.,;: ")
    moved = _ARTICLE_BEHIND.match(plain)
    return _words(plain if moved is None else f"{moved['article']} {moved['name']}")
