"""Rankers that need no language model: every result is shown beside them.

They learn from the training sessions only, if at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agentrec.sessions import Session

_HISTORY = 10
"""Only this many of the most recent items count."""


class Ranker(Protocol):
    """Ranks the candidates of one session, without looking at its target."""

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates.

        Returns:
            All of ``session.candidates``, best first; the same for the same session, in
            whatever order its candidates are listed.
        """
        ...


def order_by_score(session: Session, scores: Mapping[str, float], seed: int) -> tuple[str, ...]:
    """Return the candidates by score, highest first, in random order among equal scores.

    Args:
        session: Its candidates are ranked.
        scores: Finite scores by candidate; a missing one counts 0.
        seed: Seed of the order among equal scores.
    """

    def key(item_id: str) -> tuple[float, bytes, str]:
        # The ids and the seed alone decide a tie: a target cannot win it by its position.
        # Lengths keep ("a", "bc") and ("ab", "c") apart.
        text = f"{seed}:{len(session.session_id)}:{session.session_id}:{item_id}"
        drawn = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return -scores.get(item_id, 0.0), drawn, item_id

    return tuple(sorted(session.candidates, key=key))


def _recent_items(items: Sequence[str], decay: float) -> list[tuple[str, float]]:
    """The last items, most recent first, weighted by ``decay`` to the power of their age."""
    return [(item_id, decay**age) for age, item_id in enumerate(reversed(items[-_HISTORY:]))]


class RandomRanker(Ranker):
    """Ranks at random.

    Args:
        seed: Seed of the order.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Shuffle the candidates; see ``Ranker.rank``."""
        return order_by_score(session, {}, self._seed)


class PopularityRanker(Ranker):
    """Ranks by how often an item occurs in the training sessions.

    Args:
        counts: Occurrences by item id, from the training split only; a missing one counts 0.
        seed: Seed of the order among equal counts.
    """

    def __init__(self, counts: Mapping[str, int], seed: int = 0) -> None:
        self._counts = dict(counts)
        self._seed = seed

    @classmethod
    def fit(cls, sessions: Iterable[Session], seed: int = 0) -> PopularityRanker:
        """Count in how many training sessions each item is, as history or target."""
        counts = Counter[str]()
        for session in sessions:
            counts.update(_members(session))
        return cls(counts, seed)

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by count; see ``Ranker.rank``."""
        return order_by_score(session, self._counts, self._seed)


class ItemKNNRanker(Ranker):
    """Ranks by how often a candidate shares a training session with the last items.

    ``similarity(i, j) = together(i, j) / (sqrt(n_i * n_j) + 1)``, where ``n`` counts the training
    sessions with an item and ``together`` those with both; the score of a candidate is the
    recency-weighted sum of its similarities to the last ten items, of whose neighbourhoods the
    nearest 200 count. A neighbourhood is computed when it is first needed, so that a large
    catalogue costs nothing up front.

    Args:
        train: Training sessions, history and target.
        item_ids: The catalogue; its order breaks ties at the edge of a neighbourhood.
        seed: Seed of the order among equal scores.

    Raises:
        ValueError: If a training session names an item that is not in the catalogue.

    Source: Sarwar et al., Item-based collaborative filtering (WWW 2001), with sessions as users.
    """

    NEIGHBOURS = 200
    DECAY = 0.8

    def __init__(self, train: Iterable[Session], item_ids: Sequence[str], *, seed: int = 0) -> None:
        self._seed = seed
        self._item_ids = tuple(item_ids)
        index = {item_id: row for row, item_id in enumerate(self._item_ids)}
        self._sessions: list[npt.NDArray[np.int64]] = []
        self._sessions_of: dict[str, list[int]] = defaultdict(list)
        for number, session in enumerate(train):
            members = _members(session)
            if unknown := [item_id for item_id in members if item_id not in index]:
                raise ValueError(
                    f"training session {session.session_id!r} names {unknown[0]!r}, "
                    "which is not in the catalogue"
                )
            self._sessions.append(np.array([index[each] for each in members], dtype=np.int64))
            for item_id in members:
                self._sessions_of[item_id].append(number)
        self._frequency = np.array(
            [len(self._sessions_of.get(item_id, ())) for item_id in self._item_ids],
            dtype=np.float64,
        )
        self._neighbourhoods: dict[str, Mapping[str, float]] = {}

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by shared sessions; see ``Ranker.rank``."""
        scores: dict[str, float] = defaultdict(float)
        for item_id, weight in _recent_items(session.items, self.DECAY):
            similarities = self.similarities(item_id)
            for candidate in session.candidates:
                scores[candidate] += weight * similarities.get(candidate, 0.0)
        return order_by_score(session, scores, self._seed)

    def similarities(self, item_id: str) -> Mapping[str, float]:
        """An item's neighbourhood: similarity by id, above 0, the most similar first.

        Empty for an item that no training session has.
        """
        if item_id not in self._neighbourhoods:
            self._neighbourhoods[item_id] = self._neighbourhood(item_id)
        return self._neighbourhoods[item_id]

    def _neighbourhood(self, item_id: str) -> Mapping[str, float]:
        numbers = self._sessions_of.get(item_id)
        if not numbers:
            return {}
        members = np.concatenate([self._sessions[number] for number in numbers])
        others, together = np.unique(members, return_counts=True)
        apart = np.array([self._item_ids[other] != item_id for other in others], dtype=np.bool_)
        others, together = others[apart], together[apart]
        similarity = together / (np.sqrt(self._frequency[others] * len(numbers)) + 1.0)
        nearest = np.argsort(-similarity, kind="stable")[: self.NEIGHBOURS]
        return {self._item_ids[others[row]]: float(similarity[row]) for row in nearest}


def _members(session: Session) -> list[str]:
    """The items of a training session and its target, each once, in order."""
    target = [] if session.target is None else [session.target]
    return list(dict.fromkeys([*session.items, *target]))


class TextSimilarityRanker(Ranker):
    """Ranks by the cosine to the recency-weighted mean of the last ten items' vectors.

    Args:
        item_ids: The catalogue, without repetition.
        item_vectors: One text embedding per item, shape ``[items, dimension]``, finite. A row of
            zeros, for an item without text, is similar to nothing.
        seed: Seed of the order among equal similarities.

    Raises:
        ValueError: If the shapes do not fit, an id occurs twice or a vector is not finite.
    """

    DECAY = 0.9

    def __init__(
        self, item_ids: Sequence[str], item_vectors: npt.NDArray[np.floating], *, seed: int = 0
    ) -> None:
        vectors = np.asarray(item_vectors, dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(item_ids):
            raise ValueError(
                f"needs one vector an item, shape [{len(item_ids)}, dimension], not {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError("an item's vector has a number that is not finite")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions = vectors / np.where(lengths > 0.0, lengths, 1.0)
        self._index = {item_id: row for row, item_id in enumerate(item_ids)}
        if len(self._index) != len(item_ids):
            raise ValueError("the catalogue names an item twice")
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by similarity; see ``Ranker.rank``.

        Raises:
            ValueError: If the session names an item that has no vector.
        """
        recent = _recent_items(session.items, self.DECAY)
        weights = np.array([weight for _, weight in recent])
        profile = weights @ self._directions[self._rows([item_id for item_id, _ in recent])]
        # The profile's own length is the same for all candidates and changes no order.
        similarities = self._directions[self._rows(session.candidates)] @ profile
        scores = dict(zip(session.candidates, np.round(similarities, 9).tolist(), strict=True))
        return order_by_score(session, scores, self._seed)

    def _rows(self, item_ids: Sequence[str]) -> list[int]:
        try:
            return [self._index[item_id] for item_id in item_ids]
        except KeyError as error:
            raise ValueError(f"item {error.args[0]!r} has no vector") from error
