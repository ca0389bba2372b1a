"""The part of a session that a text about its first part is judged by."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from typing import Literal

from agentrec.sessions import Session

Relevant = Literal["target", "rest"]
"""``target``: the next item alone is relevant. ``rest``: all that came after the first part is."""


@dataclass(frozen=True)
class Continuation:
    """A session to rank, and the items that should come first.

    Attributes:
        session: The history, and candidates that contain all relevant items.
        relevant: Ids of the relevant items, the target first, at least one.
    """

    session: Session
    relevant: tuple[str, ...]


def first_part(session: Session, share: float) -> Session:
    """Return a session with only the first part of its history, at least one item.

    Args:
        session: The session.
        share: Share of the items to keep, above 0 to 1.
    """
    kept = max(1, math.floor(len(session.items) * share + 1e-9))
    return session.model_copy(update={"items": session.items[:kept]})


def continuation_of(session: Session, share: float, relevant: Relevant) -> Continuation:
    """Return the session to rank and its relevant items.

    One target says little about a text: it is one draw of what the user might have chosen. With
    ``rest`` the items between the first part and the target are relevant too. They join the
    candidates at positions drawn by the session's id, so that no position gives them away.

    Args:
        session: With target and candidates.
        share: Share of the history that the text is written from, above 0 to 1.
        relevant: Which items are relevant.

    Raises:
        ValueError: If the session has no target or no candidates.
    """
    if session.target is None or not session.candidates:
        raise ValueError(f"session {session.session_id!r} needs candidates and a target")
    if relevant == "target":
        return Continuation(session, (session.target,))
    shown = first_part(session, share)
    known = {*shown.items, *session.candidates}
    later = [one for one in dict.fromkeys(session.items[len(shown.items) :]) if one not in known]
    candidates = list(session.candidates)
    digest = hashlib.sha256(session.session_id.encode("utf-8", "surrogatepass")).digest()
    draw = random.Random(digest)
    for one in later:
        candidates.insert(draw.randint(0, len(candidates)), one)
    ranked = shown.model_copy(update={"candidates": tuple(candidates)})
    return Continuation(ranked, (session.target, *later))
