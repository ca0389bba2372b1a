"""From a log of interactions to sessions, and from sessions to a split in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from agentrec.data.interactions import Interaction
from agentrec.sessions import Session

LONGER_THAN = 3
HISTORY_LENGTH = 10


@dataclass(frozen=True, slots=True)
class TimedSession:
    """A session and when it took place.

    Attributes:
        session: The session, with its target and without candidates.
        start: Time of the first interaction of that day, in seconds since 1970-01-01 UTC. It may
            be one that the history no longer holds.
        end: Time of the interaction with the target, in the same unit; ``start <= end``.
    """

    session: Session
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Sessions in time order, cut into three parts, none of them empty.

    No session of an earlier part ends after one of a later part. A session may begin before the
    cut and end after it: it belongs to the later part. Users are not kept apart: one who came
    back later has sessions in several parts.
    """

    train: tuple[TimedSession, ...]
    valid: tuple[TimedSession, ...]
    test: tuple[TimedSession, ...]


def build_sessions(
    interactions: Iterable[Interaction],
    *,
    longer_than: int = LONGER_THAN,
    history_length: int = HISTORY_LENGTH,
) -> list[TimedSession]:
    """Make one session of everything a user did within one calendar day (UTC).

    Items come in time order. Those of the same second keep the order of ``interactions``: ordering
    them by id instead would favour late ids as targets, and in many catalogues these are the rare
    items. An item met twice counts once, where it was first. The last item is the target, the
    ``history_length`` before it are the items.

    Args:
        interactions: The log, in any order.
        longer_than: A day with this many different items or fewer is dropped; at least 1.
        history_length: How many items before the target are kept at most; at least 1.

    Returns:
        The sessions, ordered by end, then start, then session id (``u196-1997-12-04`` is what
        user 196 did on that day).

    Raises:
        ValueError: If ``longer_than`` or ``history_length`` is below 1.
    """
    if longer_than < 1 or history_length < 1:
        raise ValueError("longer_than and history_length must be at least 1")
    days: defaultdict[tuple[str, date], list[Interaction]] = defaultdict(list)
    for interaction in interactions:
        day = datetime.fromtimestamp(interaction.timestamp, UTC).date()
        days[interaction.user_id, day].append(interaction)

    sessions = []
    for (user_id, day), done in days.items():
        done.sort(key=lambda interaction: interaction.timestamp)
        first_met: dict[str, int] = {}
        for interaction in done:
            first_met.setdefault(interaction.item_id, interaction.timestamp)
        if len(first_met) <= longer_than:
            continue
        *items, target = first_met
        session = Session(
            session_id=f"u{user_id}-{day.isoformat()}",
            items=tuple(items[-history_length:]),
            target=target,
            user_id=user_id or None,
        )
        sessions.append(TimedSession(session, start=done[0].timestamp, end=first_met[target]))
    return sorted(sessions, key=_when)


def split_by_time(sessions: Sequence[TimedSession]) -> TimeSplit:
    """Cut the last 20 % off, in order of end time: half for validation, half for the test.

    Args:
        sessions: At least 3, in any order.

    Returns:
        About 80 / 10 / 10 % of the sessions, each held-out part ``max(1, count // 10)`` long.

    Raises:
        ValueError: If there are fewer than 3 sessions.
    """
    if len(sessions) < 3:
        raise ValueError(f"{len(sessions)} sessions cannot be split in three")
    ordered = sorted(sessions, key=_when)
    held_out = max(1, len(ordered) // 10)
    return TimeSplit(
        train=tuple(ordered[: -2 * held_out]),
        valid=tuple(ordered[-2 * held_out : -held_out]),
        test=tuple(ordered[-held_out:]),
    )


def _when(timed: TimedSession) -> tuple[int, int, str]:
    return timed.end, timed.start, timed.session.session_id
