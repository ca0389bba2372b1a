"""From scores to an order that the order of the candidates cannot influence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from agentrec.sessions import Session


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
