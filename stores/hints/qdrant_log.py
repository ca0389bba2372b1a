"""A log of revisions on a Qdrant server."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from agentrec.errors import StoreError
from agentrec.hints import Hint
from agentrec.stores.hints.history import Change
from agentrec.stores.hints.revision_log import BaseFacts, LoggedChange

_PART = 64
_PAGE = 256
_FACTS_ID = 0
_SERVER = (1, 17)


class QdrantLog:
    """Revisions in a collection without vectors, shared by any number of writers and readers.

    A revision's hints are written first, in parts that nobody looks for. The point whose id is
    the revision's number then makes it count: it is inserted only if there is none with that
    number, and read back to see whose it is. So a revision is there whole or not at all, whenever
    its writer is killed, and two writers never share a number.

    Args:
        client: A client of the server.
        collection: Name of the collection.
        facts: What to make it with if it is not there; ``None`` if it must be there.

    Raises:
        StoreError: It is missing, or the server is too old.
    """

    def __init__(
        self, client: QdrantClient, collection: str, facts: BaseFacts | None = None
    ) -> None:
        self._client = client
        self._collection = collection
        if not client.collection_exists(collection):
            if facts is None:
                raise StoreError("there is no knowledge base here")
            client.create_collection(collection, vectors_config={})
        if facts is not None:
            given = {"dimension": facts.dimension, "embedding_model": facts.embedding_model}
            self._insert_if_new(_FACTS_ID, given)

    def facts(self) -> BaseFacts:
        """Read what the knowledge base is made with."""
        found = self._retrieve([_FACTS_ID])
        if not found:
            raise StoreError(f"the collection {self._collection} is not a knowledge base")
        return BaseFacts(int(found[0]["dimension"]), str(found[0]["embedding_model"]))

    def read(self, after: int) -> list[LoggedChange]:
        """See ``RevisionLog.read``."""
        changes: list[LoggedChange] = []
        while True:
            numbers = list(range(after + 1, after + 1 + (_PAGE if changes else 1)))
            found = self._retrieve(numbers)
            changes += [self._change(head) for head in sorted(found, key=_number)]
            if len(found) < len(numbers):
                return changes
            after = numbers[-1]

    def append(self, logged: LoggedChange) -> bool:
        """See ``RevisionLog.append``."""
        change = logged.change
        parts = [str(uuid.uuid4()) for _ in range(0, len(change.hints), _PART)]
        for row, part in enumerate(parts):
            hints = change.hints[row * _PART : (row + 1) * _PART]
            payload = {"hints": [_packed(logged, hint) for hint in hints]}
            self._upsert(part, payload, models.UpdateMode.UPSERT)
        own = str(uuid.uuid4())
        head = {
            "number": change.number,
            "at": change.at.isoformat(),
            "note": json.dumps(change.note),
            "parts": parts,
            "writer": own,
        }
        if self._insert_if_new(change.number, head)["writer"] == own:
            return True
        if parts:
            self._client.delete(self._collection, list(parts))
        return False

    def close(self) -> None:
        """See ``RevisionLog.close``."""
        self._client.close()

    def _insert_if_new(self, number: int, payload: dict[str, Any]) -> dict[str, Any]:
        """Insert a point unless its id is taken; the payload that is there afterwards."""
        self._upsert(number, payload, models.UpdateMode.INSERT_ONLY)
        return self._retrieve([number])[0]

    def _upsert(self, point: int | str, payload: dict[str, Any], mode: models.UpdateMode) -> None:
        points = [models.PointStruct(id=point, vector={}, payload=payload)]
        self._client.upsert(
            self._collection,
            points,
            wait=True,
            ordering=models.WriteOrdering.STRONG,
            update_mode=mode,
        )

    def _retrieve(self, ids: list[Any]) -> list[dict[str, Any]]:
        records = self._client.retrieve(
            self._collection, ids, with_payload=True, consistency=models.ReadConsistencyType.ALL
        )
        return [record.payload or {} for record in records]

    def _change(self, head: dict[str, Any]) -> LoggedChange:
        parts = {
            str(record.id): record.payload or {}
            for ids in _pages(head["parts"])
            for record in self._client.retrieve(self._collection, ids, with_payload=True)
        }
        hints: list[Hint] = []
        directions = {}
        for part in head["parts"]:
            for packed in parts[part]["hints"]:
                hint = Hint.model_validate(json.loads(packed["hint"]))
                hints.append(hint)
                if packed["direction"]:
                    numbers = np.frombuffer(base64.b64decode(packed["direction"]), dtype="<f8")
                    directions[hint.hint_id] = numbers.astype(np.float64)
        at = datetime.fromisoformat(head["at"])
        return LoggedChange(
            Change(head["number"], at, json.loads(head["note"]), tuple(hints)), directions
        )


def check_server(client: QdrantClient) -> None:
    """Refuse a server that cannot insert a point only if it is new.

    Raises:
        StoreError: The server is older than 1.17.
    """
    version = client.info().version
    if tuple(int(number) for number in version.split(".")[:2]) < _SERVER:
        raise StoreError(f"a Qdrant server of version 1.17 or later is needed, not {version}")


def _packed(logged: LoggedChange, hint: Hint) -> dict[str, str]:
    direction = logged.directions.get(hint.hint_id)
    packed = b"" if direction is None else base64.b64encode(direction.astype("<f8").tobytes())
    # As ASCII text: a model may cut its answer in the middle of a character.
    return {"hint": json.dumps(hint.model_dump()), "direction": packed.decode()}


def _number(head: dict[str, Any]) -> int:
    return int(head["number"])


def _pages(ids: list[str]) -> Iterator[list[Any]]:
    for start in range(0, len(ids), _PAGE):
        yield list(ids[start : start + _PAGE])
