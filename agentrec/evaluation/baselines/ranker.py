"""The shape that every baseline has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from agentrec.sessions import Session


class Ranker(Protocol):
    """Ranks the candidates of one session, without looking at its target."""

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank.

        Returns:
            All of ``session.candidates``, best first; the same for the same session, in
            whatever order its candidates are listed.
        """
        ...


def draw(seed: int, session: Session, item_id: str) -> bytes:
    """A random-looking key for an item in a session, the same in every process.

    It depends on the seed and the two ids alone, so that a target cannot win a tie by its place.
    """
    # Lengths keep ("a", "bc") and ("ab", "c") apart.
    text = f"{seed}:{len(session.session_id)}:{session.session_id}:{item_id}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def order_by_score(session: Session, scores: Mapping[str, float], seed: int) -> tuple[str, ...]:
    """Candidates by score, the highest first, ties drawn by lot.

    Args:
        session: Its candidates are ranked.
        scores: A finite score a candidate; a missing one counts 0.
        seed: Seed of the lot.

    Returns:
        All candidates, best first.
    """
    return tuple(
        sorted(
            session.candidates,
            key=lambda item_id: (-scores.get(item_id, 0.0), draw(seed, session, item_id), item_id),
        )
    )


HISTORY = 10
"""Only this many of the most recent items count."""


def check_decay(decay: float) -> None:
    """Refuse a decay outside (0, 1].

    Raises:
        ValueError: If it is.
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"decay is above 0 and at most 1, not {decay}")


def recent_items(items: Sequence[str], decay: float) -> list[tuple[str, float]]:
    """The last items with their weights.

    Args:
        items: A history, oldest first.
        decay: Weight of an item against the one right after it; 1 weighs all alike.

    Returns:
        Up to ``HISTORY`` pairs, most recent first; the first weight is 1.
    """
    return [(item_id, decay**age) for age, item_id in enumerate(reversed(items[-HISTORY:]))]


class RandomRanker(Ranker):
    """Ranks by lot.

    Args:
        seed: Another seed, another order.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def rank(self, session: Session) -> tuple[str, ...]:
        """Shuffle the candidates; see ``Ranker.rank``."""
        return order_by_score(session, {}, self._seed)
