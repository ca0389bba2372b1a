"""What a hint can ask for: the catalogue's own values, numbers and likenesses, put in words.

An aspect scores items. A *fixed* aspect scores an item by itself ("genres Drama", "high fame"); a
*relative* one by its likeness to the history ("year close to the last item").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agentrec.catalog import Catalog
from agentrec.data.item_features import (
    FAME,
    Category,
    Floats,
    ItemFeatures,
    Number,
)

Scope = Literal["history", "last"]

MAX_VALUE_ASPECTS = 48
MIN_VALUE_SHARE = 0.015
NUM_TITLE_WORDS = 24
NUM_BINS = 5
TEXT_BLOCK = "text"


@dataclass(frozen=True)
class Aspect:
    """One thing a hint can ask for.

    Attributes:
        phrase: Lower-case words that name it, as in "prefer <phrase>".
        scores: For a fixed aspect the score of every item, standardised over the catalogue,
            shape ``[num_items]``; ``None`` for a relative one.
        block: For a relative aspect the feature block that is compared.
        scope: For a relative aspect what it is compared with.
    """

    phrase: str
    scores: Floats | None = None
    block: str | None = None
    scope: Scope | None = None

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
    scopes: tuple[tuple[Scope, str], ...] = (("history", "the history"), ("last", "the last item"))
    for scope, words in scopes:
        aspects.append(Aspect(f"text like {words}", block=TEXT_BLOCK, scope=scope))
        for category in features.categories:
            phrase = f"{spoken(category.name)} like {words}"
            aspects.append(Aspect(phrase, block=category.name, scope=scope))
        for number in features.numbers:
            phrase = f"{spoken(number.name)} close to {words}"
            aspects.append(Aspect(phrase, block=number.name, scope=scope))
    unique = {aspect.phrase: aspect for aspect in reversed(aspects)}
    return tuple(reversed(unique.values()))


def spoken(text: str) -> str:
    """A name or value as lower-case words, so that it can be written and read as text."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _value_aspects(category: Category) -> list[Aspect]:
    share = category.member.mean(axis=0)
    aspects = []
    for column, value in enumerate(category.values[:MAX_VALUE_ASPECTS]):
        words = spoken(value)
        if words and MIN_VALUE_SHARE <= share[column] <= 1 - MIN_VALUE_SHARE:
            phrase = f"{spoken(category.name)} {words}"
            aspects.append(Aspect(phrase, _standardised(category.member[:, column])))
    return aspects


def _number_aspects(number: Number) -> list[Aspect]:
    name = spoken(number.name)
    if number.name == FAME:
        named = [("widely known", number.percentile), ("little known", -number.percentile)]
        return [Aspect(phrase, _standardised(values)) for phrase, values in named]
    aspects = [
        Aspect(f"high {name}", _standardised(number.percentile)),
        Aspect(f"low {name}", _standardised(-number.percentile)),
    ]
    known = np.isfinite(number.raw)
    for label, inside in _bins(number):
        share = float((inside & known).mean())
        if MIN_VALUE_SHARE <= share <= 1 - MIN_VALUE_SHARE:
            member = (inside & known).astype(np.float32)
            aspects.append(Aspect(f"{name} {label}", _standardised(member)))
    return aspects


def _bins(number: Number) -> list[tuple[str, np.ndarray]]:
    """Decades where the values span some of them as years do, else equal shares."""
    raw = number.raw[np.isfinite(number.raw)]
    whole = bool(len(raw)) and bool(np.all(raw == np.round(raw)))
    if whole and raw.min() >= 1000 and raw.max() <= 2999 and raw.max() - raw.min() >= 20:
        decades = range(int(raw.min() // 10 * 10), int(raw.max()) + 1, 10)
        return [(f"{d}s", (number.raw >= d) & (number.raw < d + 10)) for d in decades]
    edges = np.linspace(0, 1, NUM_BINS + 1)
    names = ("lowest", "lower", "middle", "higher", "highest")
    return [
        (word, (number.percentile >= low) & (number.percentile <= high))
        for word, low, high in zip(names, edges[:-1], edges[1:], strict=True)
    ]


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
        aspects.append(Aspect(f"theme {word}", _standardised(likeness)))
    return _spread(aspects)[:NUM_TITLE_WORDS]


def _spread(aspects: Sequence[Aspect]) -> list[Aspect]:
    """Drop aspects whose scores nearly repeat an earlier one's (function words do)."""
    kept: list[tuple[Aspect, Floats]] = []
    for aspect in aspects:
        own = aspect.scores
        if own is not None and all(abs(own @ other) < 0.9 * len(own) for _, other in kept):
            kept.append((aspect, own))
    return [aspect for aspect, _ in kept]


def _standardised(values: np.ndarray) -> Floats:
    centred = values - values.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-6), dtype=np.float32)
