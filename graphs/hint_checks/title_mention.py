"""Whether a hint names an item of the catalogue by its title.

Many titles are ordinary words: "Heat", "Old School", "Love Story". That such words stand in a
hint is no evidence. A title counts

- never, if it holds nothing but articles and the like, numbers, and words for categories, which
  are those of the catalogue's attributes and of common genres: "Prefer genres war and drama.";
- if it is cited: in quotes, or with its capitals where a sentence has none;
- if it cannot be chance: several words of which one at least is not ordinary, four words or more,
  one word that hardly occurs in titles, where it is asked for ("recommend casablanca", but not
  "films with a gladiator"); its letters set apart, or its words run together.

What stands inside the value of an attribute ("directors Woody Allen") or of a longer name is no
title.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.catalog_index import (
    ARTICLES,
    FUNCTION_WORDS,
    GENRE_WORDS,
    ORDINARY_WORDS,
    PROPER_WORDS,
)
from agentrec.graphs.hint_checks.normalization import COUNTED, Token, tokens_of, words_of

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_BRACKETS = re.compile(r"\s*\([^()]*\)")
_ARTICLE_BEFORE = re.compile(r"(?:the|an?) +(?P<name>.+)", re.IGNORECASE)
_ARTICLE_BEHIND = re.compile(
    r"(?P<name>.+), *(?P<article>the|an?|l[aeo']s?|les|il|el|los|las|die|der|das|une?)",
    re.IGNORECASE,
)

# Titles of letters fewer than these are too likely to come about by chance.
_CITED_LETTERS, _RARE_LETTERS, _PHRASE_LETTERS, _LONG_LETTERS = 3, 4, 8, 14
_RARE = 2
"""In how many titles at most a word stands that, without a capital, may be taken for a name."""
_LEAST_SHARED = 2
"""How many items, and which share of them, have a value whose words are words for a category."""
_SHARED_SHARE = 0.005

_PREFIX = 4


@dataclass(frozen=True)
class CatalogIndex:
    """What is asked of a catalogue when a hint is checked.

    Attributes:
        titles: Titles as words, by their letters run together.
        starts: How the keys of ``titles`` begin.
        longest: Letters of the longest key.
        counts: In how many titles a word stands.
        often: From how many titles on a word is an ordinary one.
        values: The attributes' values, their letters run together.
        categories: Words of attributes and of values that several items share.
        ids: Item ids that mix letters with digits, run together.
        plain_ids: All other item ids, folded.
    """

    titles: dict[str, list[tuple[str, ...]]]
    starts: frozenset[str]
    longest: int
    counts: Counter[str]
    often: int
    values: frozenset[str]
    categories: frozenset[str]
    ids: frozenset[str]
    plain_ids: frozenset[str]

    def ordinary(self, word: str) -> bool:
        """Whether a word says nothing about which title is meant."""
        return (
            word in ORDINARY_WORDS
            or word in self.categories
            or word.isdigit()
            or self.counts[word] >= self.often
        )

    def categorical(self, word: str) -> bool:
        """Whether a word names a category, a number, or nothing at all."""
        return (
            word in self.categories
            or word in GENRE_WORDS
            or word in FUNCTION_WORDS
            or COUNTED.fullmatch(word) is not None
        )

    def known(self, word: str) -> bool:
        """Whether a word is one at all, as far as the catalogue tells."""
        return word in ORDINARY_WORDS or word in self.categories or self.counts[word] > 0


_INDICES: weakref.WeakKeyDictionary[Catalog, CatalogIndex] = weakref.WeakKeyDictionary()
_BUILDING = threading.Lock()


def index_of(catalog: Catalog) -> CatalogIndex:
    """The index of a catalogue, built once: a second or so for 100,000 items, in any thread."""
    found = _INDICES.get(catalog)
    if found is None:
        with _BUILDING:
            found = _INDICES.get(catalog)
            if found is None:
                found = _INDICES[catalog] = _built(catalog)
    return found


def title_forms(title: str) -> Iterator[str]:
    """A title as it is, without year and brackets, with its article in front, and without."""
    yield title
    name = _BRACKETS.sub("", _YEAR.sub("", title)) if "(" in title else title
    if name != title:
        yield name
    moved = _ARTICLE_BEHIND.fullmatch(name) if "," in name else None
    if moved is not None:
        name = f"{moved['article']} {moved['name']}"
        yield name
    led = _ARTICLE_BEFORE.fullmatch(name)
    # "Game" alone is a word, not what anybody calls "The Game" without a capital.
    if led is not None and len(words_of(led["name"])) > 1:
        yield led["name"]


def _built(catalog: Catalog) -> CatalogIndex:
    titles: dict[str, list[tuple[str, ...]]] = {}
    counts: Counter[str] = Counter()
    values: Counter[str] = Counter()
    names: set[str] = set()
    ids: set[str] = set()
    plain_ids: set[str] = set()
    for item in catalog.values():
        counts.update(set(words_of(item.title)))
        for form in title_forms(item.title):
            words = tuple(words_of(form))
            if words:
                known = titles.setdefault("".join(words), [])
                if words not in known:
                    known.append(words)
        for name, value in item.attributes.items():
            names.add(name)
            if isinstance(value, str):
                values[value] += 1
            elif isinstance(value, tuple):
                values.update(value)
            else:
                values[str(value)] += 1
        parts = words_of(item.item_id)
        key = "".join(parts)
        mixed = any(map(str.isdigit, key)) and any(map(str.isalpha, key))
        (ids if mixed and len(key) > 1 else plain_ids).add(key)
    least = max(_LEAST_SHARED, len(catalog) * _SHARED_SHARE)
    categories = {word for name in names for word in words_of(name)}
    categories |= {w for value, n in values.items() if n >= least for w in words_of(value)}
    # "Prefer comedies", "a western genre": the other number is the same word.
    categories |= {f"{word}s" for word in categories} | {word.rstrip("s") for word in categories}
    return CatalogIndex(
        titles=titles,
        starts=frozenset(key[:_PREFIX] for key in titles),
        longest=max(map(len, titles), default=0),
        counts=counts,
        often=max(5, len(catalog) // 1000),
        values=frozenset("".join(words_of(value)) for value in values),
        categories=frozenset(categories - {""}),
        ids=frozenset(ids),
        plain_ids=frozenset(plain_ids),
    )


def names_title(reading: str, index: CatalogIndex) -> bool:
    """Whether a text names an item by its title."""
    tokens = tokens_of(reading)
    masked = _inside_values(tokens, index)
    words = [token.word for token in tokens]
    for start in range(len(words)):
        opening = "".join(words[start : start + _PREFIX])[:_PREFIX]
        if opening not in index.starts and words[start] not in index.titles:
            continue
        key = ""
        for end in range(start, len(words)):
            key += words[end]
            if len(key) > index.longest:
                break
            if key in index.titles and (start, end) not in masked:
                place = Place(tokens, start, end, reading)
                if any(_counts(title, place, index) for title in index.titles[key]):
                    return True
    return False


def _counts(title: tuple[str, ...], place: Place, index: CatalogIndex) -> bool:
    span = place.span
    letters = sum(map(len, title))
    content = [word for word in title if word not in FUNCTION_WORDS]
    if not content:
        # "Only You": nothing but capitals tells it from any two words.
        return all(token.capital or len(token.word) < 4 for token in span) and (
            (place.quoted and span[0].capital)
            or (len(span) > 1 and place.capitals and span[0].capital and not place.opens_sentence)
        )
    # "The Game" and "In America" begin with a capital where a game and a country do not.
    led = (
        title[0] in FUNCTION_WORDS
        and span[0].capital
        and span[-1].capital
        and place.capitals
        and not place.opens_sentence
    )
    if not led and all(index.categorical(word) for word in title):
        return all(map(str.isdigit, content)) and place.quoted
    if len(span) != len(title):
        return _respaced(title, span, letters, index)
    distinct = [word for word in content if not index.ordinary(word)]
    capital = [
        token.capital
        for token in span
        if token.word not in FUNCTION_WORDS and not token.word.isdigit()
    ]
    if place.quoted:
        return bool(distinct) or any(capital)
    if len(content) > 1:
        if place.capitals and capital and all(capital):
            return letters >= _CITED_LETTERS
        if place.capitals and span[0].capital and not place.opens_sentence and len(distinct) > 1:
            return True
        chance = letters < _PHRASE_LETTERS or not distinct
        return not chance or (len(title) >= 4 and letters >= _LONG_LETTERS)
    (word,) = content
    if led or letters < _CITED_LETTERS or word in PROPER_WORDS or index.categorical(word):
        return led
    if place.named and (title[0] == word or title[0] in ARTICLES or span[0].capital):
        return True
    mixed = any(map(str.isdigit, word)) and any(map(str.isalpha, word))
    rare = index.counts[word] <= _RARE and letters >= _RARE_LETTERS and not index.ordinary(word)
    # Where an alphabet has no capitals, length has to tell.
    uncased = letters >= _PHRASE_LETTERS and word.upper() == word
    return len(title) == 1 and (mixed or (rare and (uncased or place.asked_for)))


def _respaced(
    title: tuple[str, ...], span: Sequence[Token], letters: int, index: CatalogIndex
) -> bool:
    """Whether words that have a title's letters, but not its spaces, stand for it."""
    if len(span) > 2 and all(len(token.word) == 1 for token in span):
        return letters >= _CITED_LETTERS
    if len(title) == 1 or letters < _PHRASE_LETTERS:
        return False
    if len(span) < len(title):
        return not all(index.known(token.word) for token in span)
    return letters > _PHRASE_LETTERS


def _inside_values(tokens: Sequence[Token], index: CatalogIndex) -> set[tuple[int, int]]:
    """Spans that are, or lie within, the value of an attribute."""
    inside: set[tuple[int, int]] = set()
    for start in range(len(tokens)):
        key = ""
        for end in range(start, min(start + 6, len(tokens))):
            key += tokens[end].word
            if key in index.values:
                inside |= {(a, b) for a in range(start, end + 1) for b in range(a, end + 1)}
    return inside


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


_CALLED_ID = re.compile(
    r"(?:\b(?:item|items|id|ids|product|sku|asin|isbn|key)\b[\s:=#.\"'(no]{0,6}|#)(\w+)"
)
_LEAST_NUMBER = 7


def names_id(reading: str, index: CatalogIndex) -> bool:
    """Whether a text holds the id of an item.

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
    if any(w.isdigit() and len(w) >= _LEAST_NUMBER and w in index.plain_ids for w in words):
        return True
    return any(
        called != "1" and called in index.plain_ids
        for called in _CALLED_ID.findall(reading.lower())
    )
