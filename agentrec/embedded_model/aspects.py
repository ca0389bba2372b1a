"""Aspects, which hints can ask for: the catalogue's own values and numbers, in words."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.catalog import Catalog
from agentrec.data.item_features import Category, Floats, ItemFeatures, Number

MAX_VALUE_ASPECTS = 48
MIN_VALUE_SHARE = 0.015
NUM_TITLE_WORDS = 24
NUM_BINS = 8
FAME_WORDS = ("hardly known", "little known", "fairly known", "well known", "widely known")
THEME = "theme"
LEVEL_WORDS = ("lowest", "lower", "middle", "higher", "highest")


@dataclass(frozen=True)
class Aspect:
    """One property of items that a hint can ask for.

    Attributes:
        phrase: Lower-case words that name it, as in "prefer <phrase>".
        scores: How much each item has it, standardised over the catalogue, ``[num_items]``.
        factor: Lower-case words for the kind of property, such as an attribute's name.
    """

    phrase: str
    scores: Floats
    factor: str

    @property
    def token(self) -> str:
        """The phrase as one word, which the model reads and writes."""
        return self.phrase.replace(" ", "_")


def discover_aspects(catalog: Catalog, features: ItemFeatures) -> tuple[Aspect, ...]:
    """List the aspects of a catalogue, in a fixed order."""
    aspects: list[Aspect] = []
    for category in features.categories:
        aspects.extend(_value_aspects(category))
    for number in features.numbers:
        aspects.extend(_number_aspects(number))
    if not features.categories:
        aspects.extend(_word_aspects(catalog, features))
    unique = {aspect.phrase: aspect for aspect in reversed(aspects)}
    return tuple(reversed(unique.values()))


def plain_words(text: str) -> str:
    """Return a name or value as lower-case words, so that texts can hold it."""
    # No underscores: they join the words of a phrase.
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _factor_name(name: str) -> str:
    """Return an attribute's name in words, also of one that has no word characters."""
    return plain_words(name) or "value"


def _value_aspects(category: Category) -> list[Aspect]:
    share = category.member.mean(axis=0)
    aspects = []
    for column, value in enumerate(category.values[:MAX_VALUE_ASPECTS]):
        words = plain_words(value)
        if words and MIN_VALUE_SHARE <= share[column] <= 1 - MIN_VALUE_SHARE:
            factor = _factor_name(category.name)
            scores = _standardise(category.member[:, column])
            aspects.append(Aspect(f"{factor} {words}", scores, factor))
    return aspects


def _number_aspects(number: Number) -> list[Aspect]:
    name = _factor_name(number.name)
    if number.is_fame:
        return _level_aspects(number, FAME_WORDS, name)
    ends = [
        Aspect(f"high {name}", _standardise(number.percentile), name),
        Aspect(f"low {name}", _standardise(-number.percentile), name),
    ]
    known = number.raw[np.isfinite(number.raw)]
    if known.min() == known.max():
        return []
    if np.all(known == np.round(known)):
        return ends + _range_aspects(number)
    return ends + _level_aspects(number, [f"{name} {word}" for word in LEVEL_WORDS], name)


def _range_aspects(number: Number) -> list[Aspect]:
    """Make ranges of whole numbers that hold about equal shares of the items."""
    known = np.isfinite(number.raw)
    values = np.unique(number.raw[known])
    if len(values) > NUM_BINS:
        shares = np.linspace(0, 1, NUM_BINS + 1)
        values = np.unique(np.quantile(number.raw[known], shares).round())[:-1]
    edges = np.append(values, number.raw[known].max() + 1)
    name = _factor_name(number.name)
    aspects = []
    for start, end in itertools.pairwise(edges):
        inside = known & (number.raw >= start) & (number.raw < end)
        first, last = _number_words(start), _number_words(end - 1)
        label = first if first == last else f"{first} to {last}"
        aspects.extend(_unless_trivial(f"{name} {label}", inside, name))
    return aspects


def _number_words(value: float) -> str:
    """Return a whole number in words: a minus sign would be lost in parsing."""
    return f"minus {-value:.0f}" if value < 0 else f"{abs(value):.0f}"


def _level_aspects(number: Number, words: Sequence[str], factor: str) -> list[Aspect]:
    """Divide the items into equal shares, from the lowest to the highest."""
    level = np.minimum((number.percentile * len(words)).astype(int), len(words) - 1)
    known = np.isfinite(number.raw)
    return [
        aspect
        for index, word in enumerate(words)
        for aspect in _unless_trivial(word, known & (level == index), factor)
    ]


def _unless_trivial(phrase: str, inside: npt.NDArray[np.bool_], factor: str) -> list[Aspect]:
    """Make the aspect, unless nearly all or nearly none of the items have it."""
    if not MIN_VALUE_SHARE <= inside.mean() <= 1 - MIN_VALUE_SHARE:
        return []
    return [Aspect(phrase, _standardise(inside.astype(np.float32)), factor)]


def _word_aspects(catalog: Catalog, features: ItemFeatures) -> list[Aspect]:
    """Make aspects of titles alone: similarity to the titles that hold a frequent word."""
    words = [
        set(re.findall(r"[^\W\d_]{4,}", catalog[i].title.casefold())) for i in catalog.item_ids
    ]
    counted = Counter(word for row in words for word in row)
    ordered = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    frequent = [word for word, n in ordered[: NUM_TITLE_WORDS + 12] if n >= 3]
    aspects = []
    for word in frequent:
        holders = np.array([word in row for row in words])
        similarity = features.text @ features.text[holders].mean(axis=0)
        aspects.append(Aspect(f"{THEME} {word}", _standardise(similarity), THEME))
    return _drop_near_duplicates(aspects)[:NUM_TITLE_WORDS]


def _drop_near_duplicates(aspects: Sequence[Aspect]) -> list[Aspect]:
    """Drop aspects whose scores nearly repeat an earlier one's, as those of function words."""
    kept: list[Aspect] = []
    for aspect in aspects:
        limit = 0.9 * len(aspect.scores)
        if all(abs(float(aspect.scores @ other.scores)) < limit for other in kept):
            kept.append(aspect)
    return kept


def _standardise(values: npt.NDArray[np.floating]) -> Floats:
    centred = values - values.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-6), dtype=np.float32)
