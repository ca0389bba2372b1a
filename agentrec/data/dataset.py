"""From a log of interactions to a data set: sessions, split in time."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Literal

from agentrec.catalog import Catalog
from agentrec.sessions import Session

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Dataset:
    """A catalogue and its sessions, split for training, validation and test.

    Args:
        name: What to call it in reports.
        catalog: All items the sessions may name.
        train: Sessions to learn from, at least one; earlier than the others.
        valid: Sessions to choose among settings with, at least one.
        test: Sessions to report on, at least one.
        notes: What a person should know about how it was read, one line each.

    Raises:
        ValueError: If a split is empty, a session has no target or names an item that the
            catalogue lacks, or two sessions share an id.
    """

    name: str
    catalog: Catalog
    train: tuple[Session, ...]
    valid: tuple[Session, ...]
    test: tuple[Session, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for split, sessions in self.splits():
            if not sessions:
                raise ValueError(f"the {split} split has no session")
            for session in sessions:
                if session.session_id in seen:
                    raise ValueError(f"session id {session.session_id!r} occurs twice")
                seen.add(session.session_id)
                if session.target is None:
                    raise ValueError(f"session {session.session_id!r} has no target")
                for item_id in (*session.items, session.target, *session.candidates):
                    if item_id not in self.catalog:
                        raise ValueError(
                            f"session {session.session_id!r} names item {item_id!r}, "
                            "which the catalogue lacks"
                        )

    def splits(self) -> Iterator[tuple[SplitName, tuple[Session, ...]]]:
        """Yield the name and the sessions of each split, in time order."""
        yield "train", self.train
        yield "valid", self.valid
        yield "test", self.test

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 over the catalogue and every session: split, target, candidates, user.

        The name and the notes do not count: two folders with the same content have one hash.
        """
        digest = hashlib.sha256(self.catalog.content_hash.encode())
        for split, sessions in self.splits():
            for session in sessions:
                row = [split, session.session_id, session.items, session.target, session.candidates]
                # Only where it is known: data without users has the hash it always had.
                row += [] if session.user_id is None else [session.user_id]
                digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Interaction:
    """One user did something with one item.

    Attributes:
        user_id: Who.
        item_id: With what; an id of the catalogue.
        timestamp: When, in whole seconds since 1970-01-01 UTC.
    """

    user_id: str
    item_id: str
    timestamp: int


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
