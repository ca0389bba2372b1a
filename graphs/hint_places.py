"""Whether the place where words stand marks them as a name: quotes, capitals, neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agentrec.graphs.hint_vocabulary import (
    FUNCTION_WORDS,
    GENRE_WORDS,
    ORDINARY_WORDS,
    PROPER_WORDS,
)
from agentrec.graphs.hint_words import Token

_OPENING = frozenset("\"'`\u2018\u201c\u201e\u201a\u00ab\u2039\u201d\u300c\u300e\u300a\u3008*_")
_CLOSING = frozenset("\"'`\u2019\u201d\u201c\u00bb\u203a\u300d\u300f\u300b\u3009\u2018\u00ab*_")
_BRACKET = re.compile(r"\s*\([^()]*\)")
_ASKING = frozenset(
    ("recommend", "suggest", "watch", "rewatch", "see", "show", "add", "put", "rank")
) | {"like", "than", "as"}
_GOES_ON = re.compile(
    r"[ -](?!(?:and|or|first|next|on|in|at|to|over|before|above|again|now|here|the|a|is|for)\b)\w"
)
_BEGINS = "\"'\u201c\u2018( "
_PLAIN = ORDINARY_WORDS - PROPER_WORDS - {"i"}
_NO_NAMES = FUNCTION_WORDS | GENRE_WORDS
_ENDS = frozenset(".!?:;\u2026")


@dataclass(frozen=True)
class Place:
    """Where in a reading a span of words stands.

    Attributes:
        tokens: All words of the reading.
        start: Place of the span's first word.
        end: Place of its last word.
        reading: The text.
    """

    tokens: Sequence[Token]
    start: int
    end: int
    reading: str

    @property
    def span(self) -> Sequence[Token]:
        """The words."""
        return self.tokens[self.start : self.end + 1]

    @cached_property
    def quoted(self) -> bool:
        """Whether quotes, or marks of emphasis, enclose the span and nothing else.

        A year in brackets or the mark that ends a sentence may come between.
        """
        before = self.reading[: self.span[0].start].rstrip()[-1:]
        behind = _BRACKET.sub("", self.reading[self.span[-1].end :], count=1).lstrip(" .,!?\u2026")
        return before in _OPENING and behind[:1] in _CLOSING if before and behind else False

    @cached_property
    def opens_sentence(self) -> bool:
        """Whether the span is where a sentence begins, so that a capital says nothing."""
        return self._opens(self.start)

    @cached_property
    def capitals(self) -> bool:
        """Whether capitals say anything: not where "With" and "Films" are written with them."""
        others = [*self.tokens[1 : self.start], *self.tokens[max(self.end + 1, 1) :]]
        plain = [token.capital for token in others if token.word in _PLAIN]
        return sum(plain) < 2 or sum(plain) * 2 < len(plain)

    @cached_property
    def named(self) -> bool:
        """Whether quotes or a capital mark the span's one word of weight, its last, as a name."""
        if self.quoted:
            return True
        first, last = self.span[0], self.span[-1]
        if not self.capitals or self._in_longer_name:
            return False
        # "La pianiste" has its capital in front, "the Fugitive" behind.
        return (first.capital and not self.opens_sentence) or (
            last.capital and not self._opens(self.end)
        )

    @property
    def asked_for(self) -> bool:
        """Whether a verb that asks for an item stands right before the span, and no noun behind.

        "Recommend casablanca", but not "recommend conspiracy thrillers".
        """
        before = self.tokens[self.start - 1].word if self.start else ""
        behind = self.reading[self.span[-1].end :]
        return before in _ASKING and _GOES_ON.match(behind) is None

    @property
    def _in_longer_name(self) -> bool:
        """Whether another name stands beside the span, as in "Stephen King"."""
        beside = [
            (place, self.reading[self.tokens[low].end : self.tokens[low + 1].start])
            for place, low in ((self.start - 1, self.start - 1), (self.end + 1, self.end))
            if 0 <= place < len(self.tokens)
        ]
        return any(
            self.tokens[place].capital
            and between in {" ", "-", ". "}
            and not self._opens(place)
            and self.tokens[place].word not in _NO_NAMES
            for place, between in beside
        )

    def _opens(self, place: int) -> bool:
        before = self.reading[: self.tokens[place].start].rstrip(_BEGINS)
        return not before or before[-1] in _ENDS
