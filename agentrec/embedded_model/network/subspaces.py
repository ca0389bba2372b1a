"""How the embedded model's hidden dimensions are divided: features, handles, flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.data.item_features import Floats, ItemFeatures
from agentrec.embedded_model.teaching.aspects import Aspect

HANDLE_DIMENSIONS = 104
"""Room for 100 handles at right angles to one another and to the vector of ones."""

NUM_FLAGS = 8
FEATURE_DIMENSIONS = HANDLE_DIMENSIONS - NUM_FLAGS
WIDTH = FEATURE_DIMENSIONS + HANDLE_DIMENSIONS + NUM_FLAGS

FEATURES = slice(0, FEATURE_DIMENSIONS)
HANDLES = slice(FEATURE_DIMENSIONS, FEATURE_DIMENSIONS + HANDLE_DIMENSIONS)
_FLAGS = FEATURE_DIMENSIONS + HANDLE_DIMENSIONS
IS_ITEM, IS_HANDLE, IS_PHRASE, IS_HISTORY, RECENCY, IS_START, IS_WORD, FILLER = range(
    _FLAGS, _FLAGS + NUM_FLAGS
)

_PROPERTY_SHARE = 40
_CATEGORY_SHARE = 16
_LONGEST = 1.5
"""How long an item may be in one block, in root mean squares: an item with a rare value would else
make all others look alike."""


@dataclass(frozen=True)
class ItemColumns:
    """Items as columns of the feature subspace.

    Attributes:
        vectors: Features of each item, at most 1 long, ``[num_items, FEATURE_DIMENSIONS]``.
        filler: What each lacks to a length of 1, so that normalising changes none against
            another, ``[num_items]``.
        likeness: Columns that say what items are about, as against the properties that only
            hints ask for.
        phrases: For each aspect the vector whose dot product with an item says how much of it
            the item has, of mean length 1, ``[num_aspects, FEATURE_DIMENSIONS]``.
    """

    vectors: Floats
    filler: Floats
    likeness: tuple[int, ...]
    phrases: Floats


def item_columns(features: ItemFeatures, aspects: Sequence[Aspect]) -> ItemColumns:
    """Squeeze a catalogue's features into the subspace: properties, categories, text."""
    blocks: list[Floats] = []
    if features.categories:
        properties = np.stack([aspect.scores for aspect in aspects], axis=1) if aspects else None
        categories = np.concatenate([c.vectors for c in features.categories], axis=1)
        if properties is not None:
            blocks.append(_principal(properties, _PROPERTY_SHARE))
        about = sum(block.shape[1] for block in blocks)
        blocks.append(_principal(categories, _CATEGORY_SHARE))
    else:
        if features.numbers:
            numbers = np.concatenate([n.vectors for n in features.numbers], axis=1)
            blocks.append(_principal(numbers, _CATEGORY_SHARE))
        about = sum(block.shape[1] for block in blocks)
    taken = sum(block.shape[1] for block in blocks)
    blocks.append(_principal(features.text, FEATURE_DIMENSIONS - taken))
    scaled = [_shortened(block) for block in blocks]
    vectors = np.zeros((len(features.text), FEATURE_DIMENSIONS), dtype=np.float32)
    joined = np.concatenate(scaled, axis=1)
    vectors[:, : joined.shape[1]] = joined
    vectors /= max(float(np.linalg.norm(vectors, axis=1).max()), 1e-6)
    filler = np.sqrt(np.clip(1 - (vectors**2).sum(axis=1), 0, None))
    return ItemColumns(
        vectors=vectors,
        filler=np.asarray(filler, dtype=np.float32),
        likeness=tuple(range(about, joined.shape[1])),
        phrases=_phrases(vectors, aspects),
    )


def handle_codes(count: int, seed: int) -> Floats:
    """Unit vectors at right angles to one another and to the vector of ones.

    The second keeps them as they are when a layer takes off the mean of its input.

    Args:
        count: How many, below ``HANDLE_DIMENSIONS``.
        seed: Seed of the draw.

    Returns:
        Shape ``[count, HANDLE_DIMENSIONS]``.
    """
    drawn = np.random.default_rng(seed).normal(size=(HANDLE_DIMENSIONS, HANDLE_DIMENSIONS))
    drawn[:, 0] = 1.0
    orthogonal, _ = np.linalg.qr(drawn)
    return np.ascontiguousarray(orthogonal[:, 1 : count + 1].T, dtype=np.float32)


def _phrases(vectors: Floats, aspects: Sequence[Aspect]) -> Floats:
    """Ridge regression of each aspect's scores on the items' columns."""
    if not aspects:
        return np.zeros((0, FEATURE_DIMENSIONS), dtype=np.float32)
    scores = np.stack([aspect.scores for aspect in aspects], axis=1).astype(np.float64)
    columns = vectors.astype(np.float64)
    gram: npt.NDArray[np.float64] = columns.T @ columns / len(columns)
    ridge = 1e-3 * np.trace(gram) / FEATURE_DIMENSIONS
    solved = np.linalg.solve(
        gram + ridge * np.eye(FEATURE_DIMENSIONS), columns.T @ scores / len(columns)
    ).T
    length = max(float(np.linalg.norm(solved, axis=1).mean()), 1e-6)
    return np.asarray(solved / length, dtype=np.float32)


def _shortened(block: Floats) -> Floats:
    """A block in units of its root mean square length, no row longer than ``_LONGEST``."""
    unit = max(float(np.sqrt((block**2).sum(axis=1).mean())), 1e-6)
    lengths = np.linalg.norm(block, axis=1, keepdims=True) / unit
    return np.asarray(block / unit / np.maximum(lengths / _LONGEST, 1.0), dtype=np.float32)


def _principal(block: Floats, limit: int) -> Floats:
    centred = block - block.mean(axis=0)
    _, _, directions = np.linalg.svd(centred[: 4000 if len(centred) > 4000 else None], False)
    return np.asarray(centred @ directions[:limit].T, dtype=np.float32)
