"""What the checks of hints look up in a catalogue: titles, attribute values, and item ids."""

from __future__ import annotations

import re
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from agentrec.catalog import Catalog
from agentrec.graphs.hint_checks.normalization import COUNTED, words_of
from agentrec.graphs.hint_checks.vocabulary import FUNCTION_WORDS, is_english

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_BRACKETS = re.compile(r"\s*\([^()]*\)")
_ARTICLE_BEFORE = re.compile(r"(?:the|an?) +(?P<name>.+)", re.IGNORECASE)
_ARTICLE_BEHIND = re.compile(
    r"(?P<name>.+), *(?P<article>the|an?|l[aeo']s?|les|il|el|los|las|die|der|das|une?)",
    re.IGNORECASE,
)

_FEWEST_SHARING = 2
_SHARED_SHARE = 0.005
"""A value that at least two items and this share of the catalogue have is a category."""

PREFIX_LENGTH = 4
"""Letters of a title's key by which ``CatalogIndex.starts`` finds it."""


@dataclass(frozen=True)
class CatalogIndex:
    """An index of a catalogue for the checks of hints. A key is text as letters without spaces.

    Attributes:
        titles: Titles as words, by key.
        starts: The first letters of the keys of ``titles``.
        longest: Length of the longest key.
        counts: Number of titles that contain a word.
        often: A word in at least this many titles is an ordinary one.
        values: Keys of the attributes' values.
        categories: Words of attribute names and of values that several items share.
        ids: Keys of the item ids that mix letters with digits.
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
        """Return whether a word says nothing about which title is meant."""
        return (
            word in FUNCTION_WORDS
            or is_english(word)
            or word in self.categories
            or word.isdigit()
            or self.counts[word] >= self.often
        )

    def categorical(self, word: str) -> bool:
        """Return whether a word names a category, a number, or nothing at all."""
        return (
            word in self.categories or word in FUNCTION_WORDS or COUNTED.fullmatch(word) is not None
        )

    def known(self, word: str) -> bool:
        """Return whether a word is a real one, as far as the catalogue and the vocabulary tell."""
        return (
            word in FUNCTION_WORDS
            or is_english(word)
            or word in self.categories
            or self.counts[word] > 0
        )


_INDICES: weakref.WeakKeyDictionary[Catalog, CatalogIndex] = weakref.WeakKeyDictionary()
_BUILDING = threading.Lock()


def index_of(catalog: Catalog) -> CatalogIndex:
    """Return the index of a catalogue, from any thread.

    It is built once, in a second or so for 100,000 items.
    """
    found = _INDICES.get(catalog)
    if found is None:
        with _BUILDING:
            found = _INDICES.get(catalog)
            if found is None:
                found = _INDICES[catalog] = _build(catalog)
    return found


def title_forms(title: str) -> Iterator[str]:
    """Yield a title as it is, without year and brackets, with its article in front, and without."""
    yield title
    name = _BRACKETS.sub("", _YEAR.sub("", title)) if "(" in title else title
    if name != title:
        yield name
    moved = _ARTICLE_BEHIND.fullmatch(name) if "," in name else None
    if moved is not None:
        name = f"{moved['article']} {moved['name']}"
        yield name
    led = _ARTICLE_BEFORE.fullmatch(name)
    # "Game" alone is a word; nobody calls "The Game" that without a capital.
    if led is not None and len(words_of(led["name"])) > 1:
        yield led["name"]


def _build(catalog: Catalog) -> CatalogIndex:
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
            values.update(value if isinstance(value, tuple) else (str(value),))
        key = "".join(words_of(item.item_id))
        mixed = any(map(str.isdigit, key)) and any(map(str.isalpha, key))
        (ids if mixed and len(key) > 1 else plain_ids).add(key)
    fewest = max(_FEWEST_SHARING, len(catalog) * _SHARED_SHARE)
    categories = {word for name in names for word in words_of(name)}
    categories |= {word for value, n in values.items() if n >= fewest for word in words_of(value)}
    # "Prefer comedies", "a western genre": singular and plural are the same word.
    categories |= {word.rstrip("s") for word in categories}
    categories |= {f"{word[:-1]}ies" if word.endswith("y") else f"{word}s" for word in categories}
    return CatalogIndex(
        titles=titles,
        starts=frozenset(key[:PREFIX_LENGTH] for key in titles),
        longest=max(map(len, titles), default=0),
        counts=counts,
        often=max(5, len(catalog) // 1000),
        values=frozenset("".join(words_of(value)) for value in values),
        categories=frozenset(categories - {""}),
        ids=frozenset(ids),
        plain_ids=frozenset(plain_ids),
    )
