"""Session vectors: what a policy sees, and what a hint store is searched with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentrec.catalog import Catalog
from agentrec.data.item_features import ItemFeatures
from agentrec.llm.session_view import HISTORY_LENGTH
from agentrec.sessions import Session

TEXT_COMPONENTS = 8
CATEGORY_VALUES = 20


class RecencySessionEncoder:
    """Recency-weighted means over the last items of a session.

    A session's state holds the weighted means of the items' text (a few principal components),
    of their most frequent category values, and of their numbers, both as percentiles and as soft
    bins, so that a policy can see how much of a history lies where; the spread of each number;
    and the length of the history. Its query is the weighted mean of the items' text vectors.

    Args:
        catalog: The items.
        features: What is known of them.
        text_vectors: Their text vectors, ``[num_items, dimension]``.
        recency: Factor between the weights of an item and the one after it, above 0 to 1.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation: the state.
    Differs: the paper takes the plain mean of the items' text encodings; with a few hundred
    training sessions, a few dimensions that say what hints are about can be learnt from and 384
    cannot.
    """

    def __init__(
        self,
        catalog: Catalog,
        features: ItemFeatures,
        text_vectors: npt.NDArray[np.float32],
        recency: float = 0.8,
    ) -> None:
        self._index = catalog.index
        self._text = text_vectors
        self._recency = recency
        centred = features.text - features.text.mean(axis=0)
        _, _, directions = np.linalg.svd(centred[:4000], full_matrices=False)
        blocks = [centred @ directions[:TEXT_COMPONENTS].T]
        blocks += [category.member[:, :CATEGORY_VALUES] for category in features.categories]
        blocks += [number.vectors for number in features.numbers]
        self._described = np.concatenate(blocks, axis=1).astype(np.float32)
        numbers = [number.percentile for number in features.numbers]
        empty = np.zeros((len(text_vectors), 0), dtype=np.float32)
        self._numbers = np.stack(numbers, axis=1) if numbers else empty

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        """What a policy sees of a session, ``[state_dim]``."""
        places, weights = self._weighted(session)
        described, numbers = self._described[places], self._numbers[places]
        return np.concatenate(
            [
                weights @ described,
                weights @ numbers,
                numbers.std(axis=0),
                [len(places) / HISTORY_LENGTH],
            ]
        ).astype(np.float32)

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        """What a hint store is searched with, ``[dimension]``."""
        places, weights = self._weighted(session)
        return np.asarray(weights @ self._text[places], dtype=np.float32)

    def _weighted(self, session: Session) -> tuple[list[int], npt.NDArray[np.float32]]:
        places = [self._index[item_id] for item_id in session.items[-HISTORY_LENGTH:]]
        weights = self._recency ** np.arange(len(places))[::-1].astype(np.float32)
        return places, np.asarray(weights / weights.sum(), dtype=np.float32)
