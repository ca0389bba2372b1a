"""Items that read alike: nothing is learnt from anybody's behaviour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrec.evaluation.baselines.ranker import Ranker, check_decay, order_by_score, recent_items
from agentrec.sessions import Session


class TextSimilarityRanker(Ranker):
    """Ranks by the cosine to the recency-weighted mean of the last ten items' vectors.

    Args:
        item_ids: The catalogue, without repetition.
        item_vectors: One text embedding an item, shape ``[items, dimension]``, finite. A row of
            zeros, for an item without text, is similar to nothing.
        decay: Weight of an item against the one right after it, above 0, at most 1.
        seed: Seed of the lot among equal similarities.

    Raises:
        ValueError: If the shapes do not fit, a vector is not finite, or an option is out of
            range.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        item_vectors: npt.NDArray[np.floating],
        *,
        decay: float = 0.9,
        seed: int = 0,
    ) -> None:
        vectors = np.asarray(item_vectors, dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(item_ids):
            raise ValueError(
                f"needs one vector an item, shape [{len(item_ids)}, dimension], not {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError("an item's vector holds a number that is not finite")
        check_decay(decay)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions = vectors / np.where(lengths > 0.0, lengths, 1.0)
        self._index = {item_id: row for row, item_id in enumerate(item_ids)}
        if len(self._index) != len(item_ids):
            raise ValueError("the catalogue names an item twice")
        self._decay = decay
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by likeness; see ``Ranker.rank``.

        Raises:
            ValueError: If the session names an item that has no vector.
        """
        recent = recent_items(session.items, self._decay)
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
