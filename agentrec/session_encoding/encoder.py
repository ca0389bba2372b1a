"""Session vectors: what a policy sees, and what a hint store is searched with."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agentrec.catalog import Catalog
from agentrec.data.item_features import ItemFeatures
from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.session_encoding.blocks import (
    BLOCK_NAMES,
    BLOCKS,
    DEFAULT_BLOCKS,
    BlockName,
    Histories,
    ItemTables,
    SessionBatch,
)
from agentrec.sessions import Session

CACHED_SESSIONS = 4096
_BATCH_SIZE = 512
"""Bounds memory: ten text vectors of each session of a batch are held at once."""

_Key = tuple[tuple[int, ...], bytes]


class _Encoded(NamedTuple):
    state: npt.NDArray[np.float32]
    query: npt.NDArray[np.float32]


class _Content(NamedTuple):
    """The part of a session that is encoded, as catalogue indices."""

    history: tuple[int, ...]
    candidates: npt.NDArray[np.int64]

    @property
    def key(self) -> _Key:
        # A digest: the candidates may be the whole catalogue.
        candidates = self.candidates.tobytes()
        return self.history, hashlib.blake2b(candidates, digest_size=16).digest()


class RecencySessionEncoder:
    """Recency-weighted means over the last items of a session, and further blocks.

    A session's query is the weighted mean of its items' text vectors. Its state is made of blocks,
    see ``BlockName``; by default of means of the items' text, category values and numbers, with
    the spread of each number and the length of the history.

    The vectors of the last 4,096 sessions used are cached by content, not by id: about 10 MB at
    384 text dimensions. Any thread may use an encoder at any time; the same session has the same
    vectors, alone and in any batch.

    Args:
        catalog: The items.
        features: Their features.
        text_vectors: Their text vectors, ``[num_items, dimension]``.
        recency: Factor between the weights of an item and the one after it, above 0 to 1.
        blocks: What a state holds, in this order.

    Raises:
        ValueError: If no block is named, one is repeated, or one is unknown.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation: the state.
    Differs: the paper takes the plain mean of the items' text encodings. A few hundred training
    sessions suffice to learn from a few dimensions that hints are about, not from 384.
    """

    def __init__(
        self,
        catalog: Catalog,
        features: ItemFeatures,
        text_vectors: npt.NDArray[np.float32],
        recency: float = 0.8,
        blocks: Sequence[BlockName] = DEFAULT_BLOCKS,
    ) -> None:
        self.blocks: tuple[BlockName, ...] = tuple(blocks)
        unknown = [name for name in self.blocks if name not in BLOCK_NAMES]
        if unknown or not self.blocks or len(set(self.blocks)) != len(self.blocks):
            raise ValueError(
                f"blocks are some of {', '.join(BLOCK_NAMES)}, each once, not {list(self.blocks)}"
            )
        self._index = catalog.index
        self.recency = recency
        self._tables = ItemTables.of(features, text_vectors)
        self._cached: OrderedDict[_Key, _Encoded] = OrderedDict()
        self._lock = threading.Lock()
        self._last: tuple[Session | None, _Encoded | None] = (None, None)
        parts = self._parts(self._batch([]))
        ends = np.cumsum([part.shape[1] for part in parts]).tolist()
        self._slices = dict(zip(self.blocks, map(slice, [0, *ends], ends), strict=True))
        self._widths = (ends[-1], self._tables.text.shape[1])

    @property
    def block_slices(self) -> dict[BlockName, slice]:
        """The slice of a state that each block fills."""
        return dict(self._slices)

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        """Return what a policy sees of a session, ``[state_dim]``."""
        return self._encoded_alone(session).state.copy()

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        """Return what a hint store is searched with, ``[dimension]``."""
        return self._encoded_alone(session).query.copy()

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        """Return the states of many sessions (or none), ``[batch, state_dim]``."""
        return _stacked([each.state for each in self._encoded(sessions)], self._widths[0])

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        """Return the queries of many sessions (or none), ``[batch, dimension]``."""
        return _stacked([each.query for each in self._encoded(sessions)], self._widths[1])

    def _encoded_alone(self, session: Session) -> _Encoded:
        # State and query of a session are usually asked for one after the other.
        last, encoded = self._last
        if encoded is None or last is not session:
            encoded = self._encoded([session])[0]
            self._last = session, encoded
        return encoded

    def _encoded(self, sessions: Sequence[Session]) -> list[_Encoded]:
        contents = [self._content(session) for session in sessions]
        keys = [content.key for content in contents]
        found: dict[_Key, _Encoded] = {}
        with self._lock:
            for key in keys:
                if key in self._cached:
                    self._cached.move_to_end(key)
                    found[key] = self._cached[key]
        # Two threads may encode the same session at once, with the same result.
        new = {k: c for k, c in zip(keys, contents, strict=True) if k not in found}
        keys_of_new = list(new)
        for start in range(0, len(new), _BATCH_SIZE):
            batch = keys_of_new[start : start + _BATCH_SIZE]
            encoded = dict(zip(batch, self._encode([new[key] for key in batch]), strict=True))
            found |= encoded
            with self._lock:
                self._cached.update(encoded)
                while len(self._cached) > CACHED_SESSIONS:
                    self._cached.popitem(last=False)
        return [found[key] for key in keys]

    def _encode(self, contents: Sequence[_Content]) -> list[_Encoded]:
        batch = self._batch(contents)
        states = np.concatenate(self._parts(batch), axis=1)
        # Copies: a view of one row would keep the whole batch in memory.
        return [_Encoded(s.copy(), q.copy()) for s, q in zip(states, batch.queries, strict=True)]

    def _content(self, session: Session) -> _Content:
        history = tuple(self._index[item_id] for item_id in session.items[-HISTORY_LENGTH:])
        # Sorted: the order in which candidates are listed does not matter.
        seen = session.candidates if "candidates" in self.blocks else ()
        candidates = np.array(sorted(self._index[item_id] for item_id in seen), dtype=np.int64)
        return _Content(history, candidates)

    def _batch(self, contents: Sequence[_Content]) -> SessionBatch:
        histories = Histories([content.history for content in contents], self.recency)
        return SessionBatch.of(
            self._tables, histories, [content.candidates for content in contents]
        )

    def _parts(self, batch: SessionBatch) -> list[npt.NDArray[np.float32]]:
        return [BLOCKS[name](batch) for name in self.blocks]


def _stacked(rows: Sequence[npt.NDArray[np.float32]], width: int) -> npt.NDArray[np.float32]:
    return np.stack(rows) if rows else np.zeros((0, width), dtype=np.float32)
