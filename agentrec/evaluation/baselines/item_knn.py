"""Items that keep company: session-based nearest neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from agentrec.evaluation.baselines.ranker import Ranker, check_decay, order_by_score, recent_items
from agentrec.sessions import Session


class ItemKNNRanker(Ranker):
    """Ranks by how often a candidate shares a training session with the last items.

    ``similarity(i, j) = together(i, j) / (sqrt(n_i * n_j) + shrinkage)``, where ``n`` counts the
    training sessions with an item and ``together`` those with both; the score of a candidate is
    the recency-weighted sum of its similarities to the last ten items. A row of similarities is
    computed when it is first needed and kept, so that a large catalogue costs nothing up front.

    Args:
        train: Training sessions; history and target count alike.
        item_ids: The catalogue; its order breaks ties at the edge of a neighbourhood.
        neighbours: Size of a neighbourhood, at least 1. Fewer are cleaner, and leave more
            candidates without a score.
        shrinkage: At least 0. More trusts rare items less.
        decay: Weight of an item against the one right after it, above 0, at most 1.
        seed: Seed of the lot among equal scores.

    Raises:
        ValueError: If an option is out of range or a training session names an item outside
            the catalogue.

    Source: Sarwar et al., Item-based collaborative filtering (WWW 2001), with sessions as users.
    """

    def __init__(
        self,
        train: Iterable[Session],
        item_ids: Sequence[str],
        *,
        neighbours: int = 200,
        shrinkage: float = 1.0,
        decay: float = 0.8,
        seed: int = 0,
    ) -> None:
        if neighbours < 1:
            raise ValueError(f"neighbours is at least 1, not {neighbours}")
        if shrinkage < 0.0:
            raise ValueError(f"shrinkage is at least 0, not {shrinkage}")
        check_decay(decay)
        self._neighbours = neighbours
        self._shrinkage = shrinkage
        self._decay = decay
        self._seed = seed
        self._item_ids = tuple(item_ids)
        index = {item_id: row for row, item_id in enumerate(self._item_ids)}
        self._sessions: list[npt.NDArray[np.int64]] = []
        self._sessions_of: dict[str, list[int]] = defaultdict(list)
        for number, session in enumerate(train):
            target = () if session.target is None else (session.target,)
            members = dict.fromkeys((*session.items, *target))
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
        self._rows: dict[str, Mapping[str, float]] = {}

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by company; see ``Ranker.rank``."""
        scores: dict[str, float] = defaultdict(float)
        for item_id, weight in recent_items(session.items, self._decay):
            similarities = self.similarities(item_id)
            for candidate in session.candidates:
                scores[candidate] += weight * similarities.get(candidate, 0.0)
        return order_by_score(session, scores, self._seed)

    def similarities(self, item_id: str) -> Mapping[str, float]:
        """An item's neighbourhood: similarity by id, above 0, the most similar first.

        Empty for an item that no training session holds.
        """
        if item_id not in self._rows:
            self._rows[item_id] = self._row(item_id)
        return self._rows[item_id]

    def _row(self, item_id: str) -> Mapping[str, float]:
        numbers = self._sessions_of.get(item_id)
        if not numbers:
            return {}
        members = np.concatenate([self._sessions[number] for number in numbers])
        others, together = np.unique(members, return_counts=True)
        apart = np.array([self._item_ids[other] != item_id for other in others], dtype=np.bool_)
        others, together = others[apart], together[apart]
        expected = np.sqrt(self._frequency[others] * len(numbers))
        similarity = together / (expected + self._shrinkage)
        nearest = np.argsort(-similarity, kind="stable")[: self._neighbours]
        return {self._item_ids[others[row]]: float(similarity[row]) for row in nearest}
