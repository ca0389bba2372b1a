"""What a hint can ask for: the catalogue's own values and numbers, put in words."""

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
        factor: Lower-case words for what it is a property of, such as an attribute's name.
    """

    phrase: str
    scores: Floats
    factor: str

    @property
    def token(self) -> str:
        """The phrase as the one word that the model reads and writes it as."""
        return self.phrase.replace(" ", "_")


def discover_aspects(catalog: Catalog, features: ItemFeatures) -> tuple[Aspect, ...]:
    """List what hints can ask for in a catalogue, in a fixed order."""
    aspects: list[Aspect] = []
    for category in features.categories:
        aspects.extend(_value_aspects(category))
    for number in features.numbers:
        aspects.extend(_number_aspects(number))
    if not features.categories:
        aspects.extend(_word_aspects(catalog, features))
    unique = {aspect.phrase: aspect for aspect in reversed(aspects)}
    return tuple(reversed(unique.values()))


def spoken(text: str) -> str:
    """A name or value as lower-case words, so that it can be written and read as text."""
    # No underscore: it stands for the space between the words of a phrase.
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _spoken_name(name: str) -> str:
    """An attribute's name in words; one made of signs alone cannot be spoken."""
    return spoken(name) or "value"


def _value_aspects(category: Category) -> list[Aspect]:
    share = category.member.mean(axis=0)
    aspects = []
    for column, value in enumerate(category.values[:MAX_VALUE_ASPECTS]):
        words = spoken(value)
        if words and MIN_VALUE_SHARE <= share[column] <= 1 - MIN_VALUE_SHARE:
            factor = _spoken_name(category.name)
            scores = _standardised(category.member[:, column])
            aspects.append(Aspect(f"{factor} {words}", scores, factor))
    return aspects


def _number_aspects(number: Number) -> list[Aspect]:
    name = _spoken_name(number.name)
    if number.is_fame:
        return _levels(number, FAME_WORDS, name)
    ends = [
        Aspect(f"high {name}", _standardised(number.percentile), name),
        Aspect(f"low {name}", _standardised(-number.percentile), name),
    ]
    known = number.raw[np.isfinite(number.raw)]
    if known.min() == known.max():
        return []
    if np.all(known == np.round(known)):
        return ends + _ranges(number)
    return ends + _levels(number, [f"{name} {word}" for word in LEVEL_WORDS], name)


def _ranges(number: Number) -> list[Aspect]:
    """Ranges of whole numbers that hold about equal shares of the items."""
    known = np.isfinite(number.raw)
    values = np.unique(number.raw[known])
    if len(values) > NUM_BINS:
        shares = np.linspace(0, 1, NUM_BINS + 1)
        values = np.unique(np.quantile(number.raw[known], shares).round())[:-1]
    edges = np.append(values, number.raw[known].max() + 1)
    name = _spoken_name(number.name)
    aspects = []
    for start, end in itertools.pairwise(edges):
        inside = known & (number.raw >= start) & (number.raw < end)
        first, last = _spoken_number(start), _spoken_number(end - 1)
        label = first if first == last else f"{first} to {last}"
        aspects.extend(_if_telling(f"{name} {label}", inside, name))
    return aspects


def _spoken_number(value: float) -> str:
    """A whole number in words: a minus sign would be lost between writing and reading."""
    return f"minus {-value:.0f}" if value < 0 else f"{abs(value):.0f}"


def _levels(number: Number, words: Sequence[str], factor: str) -> list[Aspect]:
    """Equal shares of the items, from the lowest to the highest."""
    level = np.minimum((number.percentile * len(words)).astype(int), len(words) - 1)
    known = np.isfinite(number.raw)
    return [
        aspect
        for place, word in enumerate(words)
        for aspect in _if_telling(word, known & (level == place), factor)
    ]


def _if_telling(phrase: str, inside: npt.NDArray[np.bool_], factor: str) -> list[Aspect]:
    """The aspect, unless nearly all or nearly none of the items have it."""
    if not MIN_VALUE_SHARE <= inside.mean() <= 1 - MIN_VALUE_SHARE:
        return []
    return [Aspect(phrase, _standardised(inside.astype(np.float32)), factor)]


def _word_aspects(catalog: Catalog, features: ItemFeatures) -> list[Aspect]:
    """Where nothing but titles is known: likeness to the titles that hold a frequent word."""
    words = [
        set(re.findall(r"[^\W\d_]{4,}", catalog[i].title.casefold())) for i in catalog.item_ids
    ]
    counted = Counter(word for row in words for word in row)
    ordered = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    frequent = [word for word, n in ordered[: NUM_TITLE_WORDS + 12] if n >= 3]
    aspects = []
    for word in frequent:
        holders = np.array([word in row for row in words])
        likeness = features.text @ features.text[holders].mean(axis=0)
        aspects.append(Aspect(f"{THEME} {word}", _standardised(likeness), THEME))
    return _spread(aspects)[:NUM_TITLE_WORDS]


def _spread(aspects: Sequence[Aspect]) -> list[Aspect]:
    """Drop aspects whose scores nearly repeat an earlier one's (function words do)."""
    kept: list[Aspect] = []
    for aspect in aspects:
        limit = 0.9 * len(aspect.scores)
        if all(abs(float(aspect.scores @ other.scores)) < limit for other in kept):
            kept.append(aspect)
    return kept


def _standardised(values: npt.NDArray[np.floating]) -> Floats:
    centred = values - values.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-6), dtype=np.float32)
