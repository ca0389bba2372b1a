"""Features of a catalogue's items as vectors: text, categories, numbers.

Attributes are recognised by their type, never by their name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.catalog import AttributeValue, Catalog

Floats = npt.NDArray[np.float32]

FAME = "fame"
"""Name of the number that counts how often an item was chosen in training sessions."""

MAX_VALUES = 400
NUMBER_CENTRES = 10


@dataclass(frozen=True)
class Category:
    """An attribute with few distinct texts.

    Attributes:
        name: The attribute's name.
        values: Its distinct values, most frequent first.
        member: Whether an item has a value, 0 or 1, shape ``[num_items, num_values]``.
        vectors: Items as unit vectors of inverse-frequency-weighted values (zero where an item
            has none), shape ``[num_items, num_values]``.
    """

    name: str
    values: tuple[str, ...]
    member: Floats
    vectors: Floats


@dataclass(frozen=True)
class Number:
    """A numeric attribute.

    Attributes:
        name: The attribute's name.
        raw: The values, NaN where unknown, shape ``[num_items]``.
        percentile: Rank among the known values, 0 to 1 (0.5 where unknown), ``[num_items]``.
        vectors: Items as unit vectors of soft bins along the percentile, so that a dot product
            is high for near values (zero where unknown), ``[num_items, NUMBER_CENTRES]``.
        is_fame: Whether it was counted in training sessions, which no attribute is.
    """

    name: str
    raw: npt.NDArray[np.float64]
    percentile: Floats
    vectors: Floats
    is_fame: bool = False


@dataclass(frozen=True)
class ItemFeatures:
    """All features of a catalogue's items.

    Attributes:
        text: Centred unit vectors of the items' text, shape ``[num_items, text_dim]``.
        categories: Discovered categorical attributes.
        numbers: Discovered numeric attributes, fame among them if counts were given.
    """

    text: Floats
    categories: tuple[Category, ...]
    numbers: tuple[Number, ...]


def discover_features(
    catalog: Catalog, text_vectors: Floats, counts: Mapping[str, int]
) -> ItemFeatures:
    """Compute the features of a catalogue.

    Args:
        catalog: The items.
        text_vectors: An embedding per item, in catalogue order, ``[num_items, text_dim]``.
        counts: How often each item was chosen in *training* sessions; empty if unknown.

    Returns:
        The features. An attribute that is a number for most of its items is numeric, one whose
        texts repeat is categorical; any other (free text, ids) is left to the text vectors.
    """
    names: list[str] = []
    for item in catalog.values():
        names.extend(name for name in item.attributes if name not in names)
    categories: list[Category] = []
    numbers: list[Number] = []
    for name in names:
        values = [_usable(catalog[i].attributes.get(name)) for i in catalog.item_ids]
        known = [v for v in values if v is not None]
        numeric = sum(isinstance(v, (int, float)) for v in known)
        if numeric * 2 > len(known):
            raw = [float(v) if isinstance(v, (int, float)) else np.nan for v in values]
            numbers.append(_number(name, np.array(raw)))
        else:
            texts = [v if isinstance(v, tuple) else () if v is None else (str(v),) for v in values]
            category = _category(name, texts)
            if category is not None:
                categories.append(category)
    if any(counts.values()):
        raw = [float(counts.get(i, 0)) for i in catalog.item_ids]
        numbers.append(_fame(np.array(raw)))
    centred = text_vectors - text_vectors.mean(axis=0)
    return ItemFeatures(
        text=_unit_rows(centred), categories=tuple(categories), numbers=tuple(numbers)
    )


def _usable(value: AttributeValue | None) -> AttributeValue | None:
    """Return the value, or ``None`` for a number that no float can hold."""
    if not isinstance(value, (int, float)):
        return value
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def _category(name: str, texts: Sequence[tuple[str, ...]]) -> Category | None:
    counted = Counter(value for row in texts for value in set(row))
    frequent = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    values = tuple(v for v, n in frequent[:MAX_VALUES] if n >= 2)
    if not values:
        return None
    column = {value: index for index, value in enumerate(values)}
    member = np.zeros((len(texts), len(values)), dtype=np.float32)
    for row, own in enumerate(texts):
        for value in own:
            if value in column:
                member[row, column[value]] = 1
    weight = np.log(len(texts) / (member.sum(axis=0) + 1)).clip(min=0.1)
    return Category(name, values, member, _unit_rows(member * weight))


def _fame(raw: npt.NDArray[np.float64]) -> Number:
    """Compute fame from counts, less one choice of each item.

    A training session counts itself: its items and target were chosen at least once, while most
    items of a later session may never have been. Where choices are sparse, that one choice would
    give away the targets of training sessions, and set their states apart from later ones. The
    least known items, often most of them, have percentile 0.
    """
    others = np.maximum(raw - 1, 0)
    ordered = np.sort(others)
    below = np.searchsorted(ordered, others, side="left")
    upto = np.searchsorted(ordered, others, side="right")
    percentile = np.where(others > 0, (below + upto) / (2 * len(ordered)), 0.0)
    return _binned(FAME, raw, percentile.astype(np.float32), is_fame=True)


def _number(name: str, raw: npt.NDArray[np.float64]) -> Number:
    known = np.isfinite(raw)
    ordered = np.sort(raw[known])
    # The mean of left and right ranks gives ties one percentile.
    left = np.searchsorted(ordered, raw[known], side="left")
    right = np.searchsorted(ordered, raw[known], side="right")
    percentile = np.full(len(raw), 0.5, dtype=np.float32)
    percentile[known] = (left + right) / (2 * max(len(ordered), 1))
    return _binned(name, raw, percentile)


def _binned(
    name: str, raw: npt.NDArray[np.float64], percentile: Floats, is_fame: bool = False
) -> Number:
    known = np.isfinite(raw)
    centres = np.linspace(0, 1, NUMBER_CENTRES)
    soft = np.exp(-((percentile[:, None] - centres) ** 2) / (2 * 0.1**2))
    soft[~known] = 0
    return Number(name, raw, percentile, _unit_rows(soft), is_fame)


def _unit_rows(matrix: npt.NDArray[np.floating]) -> Floats:
    norm = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.maximum(norm, 1e-9) * (norm > 1e-9), dtype=np.float32)
