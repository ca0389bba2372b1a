"""Reading a model's answer: a ranked list, or a list of hints."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from agentrec.llm.session_view import SessionView

_NUMBERED = re.compile(r"^\s*(?:[-*•]\s*)?(?:\(?\d{1,3}[.):\]]+)?\s*(?P<rest>.*?)\s*$")
_RANKED = re.compile(r"^\s*\(?(?P<number>\d{1,3})[.):\]]")
_HANDLE = re.compile(r"^[\[(*\"'`]*C0*(?P<place>\d{1,4})\b", re.IGNORECASE)


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
    whole rest of the line must be a candidate's label (letter case, punctuation and a year in
    brackets aside). A label that is part of a longer one never matches ("Heat", "Heathers").

    Args:
        answer: The model's text.
        view: What the model was shown.
    """
    by_label = _unambiguous_labels(view)
    named: list[str] = []
    illegal = 0
    for line in answer.splitlines():
        match = _NUMBERED.match(line)
        rest = "" if match is None else match["rest"]
        handled = _HANDLE.match(rest)
        if handled is None and _RANKED.match(line) is None:
            continue
        item_id: str | None = None
        if handled is not None:
            place = int(handled["place"]) - 1
            if 0 <= place < len(view.candidate_ids):
                item_id = view.candidate_ids[place]
        else:
            item_id = by_label.get(_normal(rest))
        if item_id is None or item_id in named:
            illegal += 1
        else:
            named.append(item_id)
    return ParsedRanking(tuple(named), illegal)


def parse_lines(answer: str, limit: int) -> list[str]:
    """Read a list of sentences: the text of each numbered or bulleted line, without repetition.

    An answer without any such line counts as one sentence a line.

    Args:
        answer: The model's text.
        limit: How many to return at most.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    marked = [line for line in lines if re.match(r"^\s*(?:[-*•]|\(?\d{1,3}[.):\]])", line)]
    texts: list[str] = []
    for line in marked or lines:
        match = _NUMBERED.match(line)
        text = "" if match is None else match["rest"].strip("*\"'` ")
        if text and text not in texts:
            texts.append(text)
    return texts[:limit]


def _unambiguous_labels(view: SessionView) -> dict[str, str]:
    keys = [_normal(label) for label in view.candidate_labels]
    seen = Counter(keys)
    return {k: i for k, i in zip(keys, view.candidate_ids, strict=True) if k and seen[k] == 1}


def _normal(label: str) -> str:
    folded = unicodedata.normalize("NFKD", label).casefold()
    without_year = re.sub(r"\s*\((?:19|20)\d\d\)\s*$", "", folded)
    return " ".join(re.findall(r"\w+", without_year))
