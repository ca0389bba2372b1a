"""A catalogue and its sessions, split for learning, choosing and reporting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from agentrec.catalog import Catalog
from agentrec.sessions import Session

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Dataset:
    """Everything a run learns from and is measured on.

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
