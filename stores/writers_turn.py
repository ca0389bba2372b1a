"""One writer at a time, and revisions that touched nothing: the one point that is no hint."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qdrant_client import QdrantClient, models

from agentrec.stores.hint_history import Change

HEAD_ID = str(uuid.UUID("2a0f5d0b-6a53-5a7e-8b1c-43b1c2f3d9e0"))

_LEASE_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass
class Head:
    """What a knowledge base says of itself.

    Attributes:
        revision: Every hint's versions up to this one are complete.
        writer: Who writes now; empty if nobody does.
        empty: Revisions that changed no hint.
    """

    revision: int = 0
    writer: str = ""
    empty: list[Change] = field(default_factory=list)

    @classmethod
    def read(cls, client: QdrantClient, collection: str) -> Head:
        """The head of a collection, a blank one if it has none yet."""
        found = client.retrieve(collection, [HEAD_ID])
        payload = (found[0].payload if found else None) or {}
        return cls(
            revision=int(payload.get("final", 0)),
            writer=str(payload.get("writer", "")),
            empty=[
                Change(int(each["number"]), datetime.fromisoformat(each["at"]), each["note"], ())
                for each in payload.get("empty", ())
            ],
        )

    def payload(self) -> dict[str, Any]:
        """What is stored. It has no ``state`` and no ``revision``: it is never found as a hint."""
        empty = [
            {"number": each.number, "at": each.at.isoformat(), "note": each.note}
            for each in self.empty
        ]
        return {"final": self.revision, "writer": self.writer, "empty": empty}

    def point(self, dimension: int) -> models.PointStruct:
        """The point that holds it."""
        vector = [1.0] + [0.0] * (dimension - 1)
        return models.PointStruct(id=HEAD_ID, vector=vector, payload=self.payload())


@contextmanager
def writers_turn(client: QdrantClient, collection: str, dimension: int) -> Iterator[Head]:
    """Wait until nobody else writes, and keep others from writing until the end.

    A writer that is killed holds the turn for as long as half a minute.

    Args:
        client: The client of a server that others may write to.
        collection: The collection.
        dimension: Length of its vectors.

    Yields:
        The head; what is in it at the end is stored.
    """
    me = uuid.uuid4().hex
    _take(client, collection, dimension, me)
    head = Head.read(client, collection)
    try:
        yield head
    finally:
        head.writer = ""
        client.set_payload(collection, head.payload(), points=_head_of(me))


def _take(client: QdrantClient, collection: str, dimension: int, me: str) -> None:
    # The filter also keeps a head that another one makes meanwhile from being replaced.
    nobody = _head_of("")
    if not client.retrieve(collection, [HEAD_ID], with_payload=False):
        client.upsert(collection, [Head().point(dimension)], update_filter=nobody)
    waited_for, since = "", 0.0
    while True:
        client.set_payload(collection, {"writer": me}, points=nobody)
        writer = Head.read(client, collection).writer
        if writer == me:
            return
        if writer != waited_for:
            waited_for, since = writer, time.monotonic()
        elif time.monotonic() - since > _LEASE_SECONDS:
            client.set_payload(collection, {"writer": me}, points=_head_of(writer))
            continue
        time.sleep(_POLL_SECONDS)


def _head_of(writer: str) -> models.Filter:
    """The head, if that one is writing."""
    return models.Filter(
        must=[
            models.HasIdCondition(has_id=[HEAD_ID]),
            models.FieldCondition(key="writer", match=models.MatchValue(value=writer)),
        ]
    )
