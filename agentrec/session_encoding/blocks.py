"""The blocks that a session's state is made of, each of which can be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from agentrec.data.item_features import ItemFeatures
from agentrec.llm.prompts.session_view import HISTORY_LENGTH

Floats = npt.NDArray[np.float32]

TEXT_COMPONENTS = 8
CATEGORY_VALUES = 20
LATEST = 3
NUM_SPREAD_STATISTICS = 4
NUM_BEST_CANDIDATES = 10
SPREAD_TEMPERATURE = 0.1
"""Of the softmax over cosines: at 1 it is nearly uniform, whatever the candidates."""


class Histories:
    """The last items of some sessions.

    Results for a session are the same to the last bit in any batch: every sum runs over the ten
    slots of one history, with weight 0 where a history is shorter.

    Args:
        items: Catalogue indices of each session's items, oldest first, at most
            ``HISTORY_LENGTH`` a session.
        recency: Factor between the weights of an item and the one after it, above 0 to 1.
    """

    def __init__(self, items: Sequence[Sequence[int]], recency: float) -> None:
        batch = len(items)
        # Short histories are padded in front: the last column is always the last item.
        self._items = np.zeros((batch, HISTORY_LENGTH), dtype=np.int64)
        self._weights = np.zeros((batch, HISTORY_LENGTH), dtype=np.float32)
        self.lengths = np.array([len(own) for own in items], dtype=np.int64)
        for row, own in enumerate(items):
            self._items[row, -len(own) :] = own
            self._weights[row, -len(own) :] = _recency_weights(len(own), recency)

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self._items)

    def mean(self, table: Floats) -> Floats:
        """Return recency-weighted means of the items' rows of a table, ``[batch, width]``."""
        return self._weighted(table, self._weights)

    def spread(self, table: Floats) -> Floats:
        """Return standard deviations over the items, equally weighted, ``[batch, width]``."""
        if not table.shape[1]:
            return np.zeros((len(self), 0), dtype=np.float32)
        shares = self._shares(HISTORY_LENGTH)
        apart = table[self._items] - self._weighted(table, shares)[:, None]
        spread: Floats = np.sqrt(_sums(apart * apart, shares))
        return spread

    def latest_mean(self, table: Floats, count: int) -> Floats:
        """Return plain means over the last ``count`` items, ``[batch, width]``."""
        return self._weighted(table, self._shares(count))

    def _shares(self, count: int) -> Floats:
        """Equal weights of the last items, up to ``count``, that sum to 1."""
        counted = np.minimum(self.lengths, count)[:, None]
        from_the_end = np.arange(HISTORY_LENGTH, 0, -1)
        return np.where(from_the_end <= counted, 1 / counted, 0).astype(np.float32)

    def _weighted(self, table: Floats, weights: Floats) -> Floats:
        if not table.shape[1]:
            # A catalogue without numbers: summing empty rows would take as long as full ones.
            return np.zeros((len(self), 0), dtype=np.float32)
        return _sums(table[self._items], weights)


def _sums(rows: Floats, weights: Floats) -> Floats:
    """Sum ``[batch, HISTORY_LENGTH, width]`` by weight over the slots, ``[batch, width]``."""
    summed: Floats = (rows * weights[:, :, None]).sum(axis=1)
    return summed


@lru_cache
def _recency_weights(length: int, recency: float) -> Floats:
    weights = np.power(np.float32(recency), np.arange(length)[::-1].astype(np.float32))
    weights = np.asarray(weights / weights.sum(), dtype=np.float32)
    # Shared by all sessions of that length.
    weights.setflags(write=False)
    return weights


def candidate_spread(
    query: Floats, text: Floats, norms: Floats
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Summarise how candidates compare with a history by text alone.

    Args:
        query: Text vector of the history, ``[dimension]``.
        text: Text vectors of the candidates, at least one, ``[num_candidates, dimension]``.
        norms: Their lengths, ``[num_candidates]``.

    Returns:
        Mean and standard deviation of the cosines, the best one minus the tenth (the last one
        where there are fewer), and the entropy of a softmax over them as a share of its maximum,
        0 to 1 (0 for a single candidate): shape ``[NUM_SPREAD_STATISTICS]``. And the rows of the
        ten best, best first; ties keep row order.
    """
    scale = np.maximum(norms * np.linalg.norm(query), np.float32(1e-12))
    similarities = np.asarray((text @ query) / scale, dtype=np.float32)
    best = np.argsort(-similarities, kind="stable")[:NUM_BEST_CANDIDATES]
    gap = similarities[best[0]] - similarities[best[-1]]
    spread = [similarities.mean(), similarities.std(), gap, _entropy(similarities)]
    return np.array(spread, dtype=np.float32), best


def _entropy(similarities: Floats) -> float:
    if len(similarities) < 2:
        return 0.0
    logits = (similarities.astype(np.float64) - similarities.max()) / SPREAD_TEMPERATURE
    weights = np.exp(logits)
    total = weights.sum()
    # -sum p log p, with log p = logit - log(total).
    entropy = np.log(total) - (weights @ logits) / total
    return float(entropy / np.log(len(similarities)))


BlockName = Literal["text", "categories", "numbers", "length", "last_items", "candidates"]
"""What each block of a state holds.

``text``: a few principal components of the recency-weighted mean of the items' text.
``categories``: the weighted shares of the most frequent values of each category.
``numbers``: for each number the weighted share in soft bins, then the weighted mean percentiles,
then the unweighted standard deviations of the percentiles.
``length``: the length of the history, 0.1 to 1.
``last_items``: text components and percentiles of the last item, then of the last three's mean.
``candidates``: a text ranker's view of the session's candidates: mean, spread, gap and entropy of
their similarities, then the content of the ten best minus that of the history. Zeros where a
session has no candidates.
"""

BLOCK_NAMES: tuple[BlockName, ...] = get_args(BlockName)
DEFAULT_BLOCKS: tuple[BlockName, ...] = ("text", "categories", "numbers", "length")


@dataclass(frozen=True, eq=False)
class ItemTables:
    """What states are computed from, one row per item.

    Attributes:
        described: Text components, category values and soft bins of numbers, in this order,
            ``[num_items, described_dim]``.
        percentiles: Percentile of each number, 0 to 1, ``[num_items, num_numbers]``.
        text: Text vectors, ``[num_items, dimension]``.
        norms: Their lengths, ``[num_items]``.
        text_width: How many columns of ``described`` are text components.
        category_width: How many columns after those are category values.
    """

    described: Floats
    percentiles: Floats
    text: Floats
    norms: Floats
    text_width: int
    category_width: int

    @classmethod
    def of(cls, features: ItemFeatures, text_vectors: Floats) -> Self:
        """Make the tables of a catalogue.

        Args:
            features: The features of its items.
            text_vectors: Their text vectors, ``[num_items, dimension]``.
        """
        centred = features.text - features.text.mean(axis=0)
        # One thread: with all of them this took up to 14 s on a busy machine instead of 0.1 s.
        with threadpool_limits(1, user_api="blas"):
            _, _, directions = np.linalg.svd(centred[:4000], full_matrices=False)
        text = centred @ directions[:TEXT_COMPONENTS].T
        empty = np.zeros((len(text_vectors), 0), dtype=np.float32)
        categories = [category.member[:, :CATEGORY_VALUES] for category in features.categories]
        category = np.concatenate([empty, *categories], axis=1)
        numbers = [number.percentile[:, None] for number in features.numbers]
        blocks = [text, category, *(number.vectors for number in features.numbers)]
        return cls(
            described=np.concatenate(blocks, axis=1).astype(np.float32),
            percentiles=np.concatenate([empty, *numbers], axis=1).astype(np.float32),
            text=np.asarray(text_vectors, dtype=np.float32),
            norms=np.linalg.norm(text_vectors, axis=1).astype(np.float32),
            text_width=text.shape[1],
            category_width=category.shape[1],
        )


@dataclass(frozen=True, eq=False)
class SessionBatch:
    """Sessions, with what several blocks need.

    Attributes:
        tables: The catalogue's.
        histories: Their items.
        candidates: Catalogue indices of each session's candidates, ascending.
        queries: Recency-weighted mean text vectors, ``[batch, dimension]``.
        profiles: Recency-weighted means of ``tables.described``, ``[batch, described_dim]``.
    """

    tables: ItemTables
    histories: Histories
    candidates: Sequence[npt.NDArray[np.int64]]
    queries: Floats
    profiles: Floats

    @classmethod
    def of(
        cls,
        tables: ItemTables,
        histories: Histories,
        candidates: Sequence[npt.NDArray[np.int64]],
    ) -> Self:
        """Compute what blocks share."""
        queries, profiles = histories.mean(tables.text), histories.mean(tables.described)
        return cls(tables, histories, candidates, queries, profiles)


def _text(batch: SessionBatch) -> Floats:
    return batch.profiles[:, : batch.tables.text_width]


def _categories(batch: SessionBatch) -> Floats:
    start = batch.tables.text_width
    return batch.profiles[:, start : start + batch.tables.category_width]


def _numbers(batch: SessionBatch) -> Floats:
    tables, histories = batch.tables, batch.histories
    bins = batch.profiles[:, tables.text_width + tables.category_width :]
    percentiles = tables.percentiles
    return np.concatenate(
        [bins, histories.mean(percentiles), histories.spread(percentiles)], axis=1
    )


def _length(batch: SessionBatch) -> Floats:
    return np.asarray(batch.histories.lengths[:, None] / HISTORY_LENGTH, dtype=np.float32)


def _last_items(batch: SessionBatch) -> Floats:
    tables, histories = batch.tables, batch.histories
    text = tables.described[:, : tables.text_width]
    return np.concatenate(
        [
            histories.latest_mean(table, count)
            for count in (1, LATEST)
            for table in (text, tables.percentiles)
        ],
        axis=1,
    )


def _candidates(batch: SessionBatch) -> Floats:
    tables = batch.tables
    rows = np.zeros(
        (len(batch.histories), NUM_SPREAD_STATISTICS + tables.described.shape[1]), np.float32
    )
    for row, items in enumerate(batch.candidates):
        if len(items):
            spread, best = candidate_spread(
                batch.queries[row], tables.text[items], tables.norms[items]
            )
            shown = tables.described[items[best]].mean(axis=0)
            rows[row, :NUM_SPREAD_STATISTICS] = spread
            rows[row, NUM_SPREAD_STATISTICS:] = shown - batch.profiles[row]
    return rows


BLOCKS: Mapping[BlockName, Callable[[SessionBatch], Floats]] = {
    "text": _text,
    "categories": _categories,
    "numbers": _numbers,
    "length": _length,
    "last_items": _last_items,
    "candidates": _candidates,
}
