"""Reading a model's answer: a ranked list, or a list of hints."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from agentrec.llm.session_view import SessionView, as_data

# A bullet or bold marks, then perhaps a number: "1.", "(1)", "- 1:", "**1.**", "| 1 |", "1 - ".
_MARK = re.compile(
    r"(?P<bullet>(?:[-–—•>|]|\*(?=\s))\s*)?[\s*_]*"
    r"(?:#?[(\[]?(?P<number>\d{1,3})(?:\s*(?:[.:](?!\d)|[)\]|])+|\s+[-–—](?=\s)|(?=\s+C\d))[*_]*)?\s*"
)
_HANDLE = re.compile(r"[\[(*\"'`_]*C(?P<place>\d{1,9})\b", re.IGNORECASE)
_YEAR_BEHIND = re.compile(r"\((?:19|20)\d\d\)$")
_ARTICLE_BEHIND = re.compile(r"(?P<name>.+), *(?P<article>the|an?)$")


@dataclass(frozen=True)
class ParsedRanking:
    """What an answer names.

    Attributes:
        item_ids: The candidates it names, in order, each once.
        illegal: How many of its lines claim a place for something that is no candidate, or for
            one named before.
    """

    item_ids: tuple[str, ...]
    illegal: int


def parse_ranking(answer: str, view: SessionView) -> ParsedRanking:
    """Read a ranked list.

    A line counts if it is numbered or starts with a handle. A handle decides; without one the
    whole rest of the line must be a candidate's label (letter case, punctuation, accents, an
    article behind a comma and a year in brackets aside). A label that is part of a longer one
    never matches ("Heat", "Heathers"), and one that several candidates share stands for none.

    Args:
        answer: The model's text.
        view: What the model was shown.
    """
    by_label = _Labels(view)
    named: dict[str, None] = {}
    illegal = 0
    for line in answer.splitlines():
        _, numbered, rest = _split(line)
        handled = _HANDLE.match(rest)
        if handled is None and not numbered:
            continue
        item_id: str | None = None
        if handled is not None:
            place = int(handled["place"]) - 1
            if 0 <= place < len(view.candidate_ids):
                item_id = view.candidate_ids[place]
        else:
            item_id = by_label.find(rest)
        if item_id is None or item_id in named:
            illegal += 1
        else:
            named[item_id] = None
    return ParsedRanking(tuple(named), illegal)


def parse_lines(answer: str, limit: int) -> list[str]:
    """Read a list of sentences: the text of each numbered or bulleted line, without repetition.

    An answer without any such line counts as one sentence a line.

    Args:
        answer: The model's text.
        limit: How many to return at most.
    """
    texts: dict[str, str] = {}
    unmarked: dict[str, str] = {}
    for line in answer.splitlines():
        bulleted, numbered, rest = _split(line)
        text = _unquoted(re.sub(r"[*`]", "", rest))
        if text:
            # However cased: two sentences that differ in nothing else are one.
            (texts if bulleted or numbered else unmarked).setdefault(text.casefold(), text)
    return list((texts or unmarked).values())[: max(limit, 0)]


class _Labels:
    """Candidates by label, read strictly first and then ever more leniently.

    At each step a reading that several candidates share stands for none of them, so that two
    films of one title are told apart by their years and never guessed.
    """

    def __init__(self, view: SessionView) -> None:
        self._view = view

    def find(self, text: str) -> str | None:
        """The one candidate a text stands for at the first step at which it stands for one."""
        for reading, known in self._steps:
            item_id = known.get(reading(text))
            if item_id is not None:
                return item_id
        return None

    @cached_property
    def _steps(self) -> list[tuple[Callable[[str], str], dict[str, str]]]:
        """Made when first needed: an answer whose lines all have handles never is."""
        steps: list[tuple[Callable[[str], str], dict[str, str]]] = []
        for reading in (_as_shown, _words, _name):
            keys = [reading(as_data(label)) for label in self._view.candidate_labels]
            seen = Counter(keys)
            pairs = zip(keys, self._view.candidate_ids, strict=True)
            steps.append((reading, {k: i for k, i in pairs if k and seen[k] == 1}))
        return steps


def _split(line: str) -> tuple[bool, bool, str]:
    """Whether a line has a bullet, whether it has a number, and the rest, on single spaces."""
    # Foreign text can be one endless line, so no pattern here may look for the end of a line
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
    """The words without year, accents and an article's place."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in folded if not "\u0300" <= c <= "\u036f")
    plain = _YEAR_BEHIND.sub("", plain.rstrip("*_`\"'.,;: ")).rstrip("*_`\"'.,;: ")
    moved = _ARTICLE_BEHIND.match(plain)
    return _words(plain if moved is None else f"{moved['article']} {moved['name']}")
