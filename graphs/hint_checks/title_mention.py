"""Whether a hint names an item of the catalogue, by its title or its id.

Many titles are ordinary words: "Heat", "Old School", "Love Story". Such words in a hint are no
evidence of a title. A title counts

- never, if it holds nothing but articles and the like, numbers, and words for categories, which
  are those of the catalogue's attributes: "Prefer genres war and drama.";
- if it is cited: in quotes, or with its capitals where a sentence has none;
- if it cannot be chance: several words of which one is not ordinary, four words or more, a rare
  word where it is asked for ("recommend casablanca", but not "films with a gladiator"), its
  letters set apart, or its words run together.

Words inside the value of an attribute ("directors Woody Allen") or a longer name are no title.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agentrec.graphs.hint_checks.catalog_index import PREFIX_LENGTH, CatalogIndex
from agentrec.graphs.hint_checks.normalization import COUNTED, Token, tokens_of
from agentrec.graphs.hint_checks.vocabulary import (
    ARTICLES,
    FUNCTION_WORDS,
    PROPER_WORDS,
    is_english,
)

# Titles with fewer letters are too likely to come about by chance.
_CITED_LETTERS, _RARE_LETTERS, _PHRASE_LETTERS, _LONG_LETTERS = 3, 4, 8, 14
_RARE = 2
"""A word in at most this many titles may be a name even without a capital."""

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
_ENDS = frozenset(".!?:;\u2026")

_CALLED_ID = re.compile(
    r"(?:\b(?:item|items|id|ids|product|sku|asin|isbn|key)\b[\s:=#.\"'(no]{0,6}|#)(\w+)"
)
_LONG_NUMBER = 7


@dataclass(frozen=True)
class TextSpan:
    """A span of words in a reading, and whether its surroundings mark it as a name.

    Attributes:
        tokens: All words of the reading.
        start: Index of the span's first word.
        end: Index of its last word.
        reading: The text.
    """

    tokens: Sequence[Token]
    start: int
    end: int
    reading: str

    @property
    def words(self) -> Sequence[Token]:
        """The words of the span."""
        return self.tokens[self.start : self.end + 1]

    @cached_property
    def quoted(self) -> bool:
        """Whether quotes, or marks of emphasis, enclose the span and nothing else.

        A year in brackets or the mark that ends a sentence may come between.
        """
        before = self.reading[: self.words[0].start].rstrip()[-1:]
        behind = _BRACKET.sub("", self.reading[self.words[-1].end :], count=1)
        behind = behind.lstrip(" .,!?\u2026")
        return before in _OPENING and behind[:1] in _CLOSING if before and behind else False

    @cached_property
    def opens_sentence(self) -> bool:
        """Whether the span begins a sentence, so that its capital says nothing."""
        return self._opens(self.start)

    @cached_property
    def capitals(self) -> bool:
        """Whether capitals mean anything: not if "With" and "Films" have them, too."""
        others = [*self.tokens[1 : self.start], *self.tokens[max(self.end + 1, 1) :]]
        plain = [token.capital for token in others if _is_plain(token.word)]
        return sum(plain) < 2 or sum(plain) * 2 < len(plain)

    @cached_property
    def named(self) -> bool:
        """Whether quotes or a capital mark the span as a name."""
        if self.quoted:
            return True
        first, last = self.words[0], self.words[-1]
        if not self.capitals or self._in_longer_name:
            return False
        # "La pianiste" has its capital in front, "the Fugitive" behind.
        return (first.capital and not self.opens_sentence) or (
            last.capital and not self._opens(self.end)
        )

    @property
    def asked_for(self) -> bool:
        """Whether a verb that asks for an item stands before the span, and no noun behind it.

        "Recommend casablanca", but not "recommend conspiracy thrillers".
        """
        before = self.tokens[self.start - 1].word if self.start else ""
        behind = self.reading[self.words[-1].end :]
        return before in _ASKING and _GOES_ON.match(behind) is None

    @property
    def _in_longer_name(self) -> bool:
        """Whether another name stands beside the span, as in "Stephen King"."""
        beside = [
            (at, self.reading[self.tokens[low].end : self.tokens[low + 1].start])
            for at, low in ((self.start - 1, self.start - 1), (self.end + 1, self.end))
            if 0 <= at < len(self.tokens)
        ]
        return any(
            self.tokens[at].capital
            and between in {" ", "-", ". "}
            and not self._opens(at)
            and self.tokens[at].word not in FUNCTION_WORDS
            for at, between in beside
        )

    def _opens(self, index: int) -> bool:
        before = self.reading[: self.tokens[index].start].rstrip(_BEGINS)
        return not before or before[-1] in _ENDS


def names_title(reading: str, index: CatalogIndex) -> bool:
    """Return whether a text names an item by its title."""
    tokens = tokens_of(reading)
    masked = _inside_values(tokens, index)
    words = [token.word for token in tokens]
    for start in range(len(words)):
        opening = "".join(words[start : start + PREFIX_LENGTH])[:PREFIX_LENGTH]
        if opening not in index.starts and words[start] not in index.titles:
            continue
        key = ""
        for end in range(start, len(words)):
            key += words[end]
            if len(key) > index.longest:
                break
            if key in index.titles and (start, end) not in masked:
                span = TextSpan(tokens, start, end, reading)
                if any(_counts(title, span, index) for title in index.titles[key]):
                    return True
    return False


def names_id(reading: str, index: CatalogIndex) -> bool:
    """Return whether a text holds the id of an item.

    An id that mixes letters and digits, or a long number, cannot be anything else. A short
    number may be a year and a word may be a word: they count where they are called an id.
    """
    tokens = tokens_of(reading)
    words = [token.word for token in tokens]
    for start in range(len(words)):
        key = ""
        for end in range(start, min(start + 5, len(words))):
            key += words[end]
            if key not in index.ids or COUNTED.fullmatch(key) or key in index.values:
                continue
            # Of several words, a short one may come about by chance, as in "kind 7".
            if end == start or len(key) > 4 or reading[tokens[end].start - 1] in "-_":
                return True
    if any(w.isdigit() and len(w) >= _LONG_NUMBER and w in index.plain_ids for w in words):
        return True
    return any(
        called != "1" and called in index.plain_ids
        for called in _CALLED_ID.findall(reading.lower())
    )


def _is_plain(word: str) -> bool:
    """Whether a word has no capital inside a sentence."""
    return word not in PROPER_WORDS and word != "i" and (word in FUNCTION_WORDS or is_english(word))


def _counts(title: tuple[str, ...], span: TextSpan, index: CatalogIndex) -> bool:
    """Whether a span with the letters of a title is a mention of it."""
    words = span.words
    letters = sum(map(len, title))
    content = [word for word in title if word not in FUNCTION_WORDS]
    if not content:
        # "Only You": nothing but capitals tells it from any two words.
        return all(token.capital or len(token.word) < 4 for token in words) and (
            (span.quoted and words[0].capital)
            or (len(words) > 1 and span.capitals and words[0].capital and not span.opens_sentence)
        )
    # "The Game" and "In America" begin with a capital where a game and a country do not.
    led = (
        title[0] in FUNCTION_WORDS
        and words[0].capital
        and words[-1].capital
        and span.capitals
        and not span.opens_sentence
    )
    if not led and all(index.categorical(word) for word in title):
        return all(map(str.isdigit, content)) and span.quoted
    if len(words) != len(title):
        return _respaced(title, words, letters, index)
    distinct = [word for word in content if not index.ordinary(word)]
    capital = [
        token.capital
        for token in words
        if token.word not in FUNCTION_WORDS and not token.word.isdigit()
    ]
    if span.quoted:
        return bool(distinct) or any(capital)
    if len(content) > 1:
        if span.capitals and capital and all(capital):
            return letters >= _CITED_LETTERS
        if span.capitals and words[0].capital and not span.opens_sentence and len(distinct) > 1:
            return True
        chance = letters < _PHRASE_LETTERS or not distinct
        return not chance or (len(title) >= 4 and letters >= _LONG_LETTERS)
    (word,) = content
    if led or letters < _CITED_LETTERS or word in PROPER_WORDS or index.categorical(word):
        return led
    if span.named and (title[0] == word or title[0] in ARTICLES or words[0].capital):
        return True
    mixed = any(map(str.isdigit, word)) and any(map(str.isalpha, word))
    rare = index.counts[word] <= _RARE and letters >= _RARE_LETTERS and not index.ordinary(word)
    # In an alphabet without capitals, length has to decide.
    uncased = letters >= _PHRASE_LETTERS and word.upper() == word
    return len(title) == 1 and (mixed or (rare and (uncased or span.asked_for)))


def _respaced(
    title: tuple[str, ...], words: Sequence[Token], letters: int, index: CatalogIndex
) -> bool:
    """Whether words that have a title's letters, but not its spaces, stand for it."""
    if len(words) > 2 and all(len(token.word) == 1 for token in words):
        return letters >= _CITED_LETTERS
    if len(title) == 1 or letters < _PHRASE_LETTERS:
        return False
    if len(words) < len(title):
        return not all(index.known(token.word) for token in words)
    return letters > _PHRASE_LETTERS


def _inside_values(tokens: Sequence[Token], index: CatalogIndex) -> set[tuple[int, int]]:
    """Return the spans that are, or lie within, the value of an attribute."""
    inside: set[tuple[int, int]] = set()
    for start in range(len(tokens)):
        key = ""
        for end in range(start, min(start + 6, len(tokens))):
            key += tokens[end].word
            if key in index.values:
                inside |= {(a, b) for a in range(start, end + 1) for b in range(a, end + 1)}
    return inside
