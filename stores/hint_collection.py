"""Hints in one collection of an embedded Qdrant, with blocking calls, for one thread."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models

from agentrec.errors import StoreError
from agentrec.hints import Hint, ScoredHint
from agentrec.stores.cosine import SIMILARITY_DECIMALS, nearest_first, rounded_similarity
from agentrec.stores.folder_check import check_folder, damaged, in_use

_POINT_NAMESPACE = uuid.UUID("6f1b3f0e-52a1-5c0a-9d8e-2f6f3a6b7c11")
_PAGE = 1_000


class HintCollection:
    """One open Qdrant collection of hints.

    Every method blocks, and all of them belong on the thread that called ``open``. A point's id
    is made from the hint's id; its payload holds the whole hint and its number in the order of
    adding.
    """

    def __init__(self, client: QdrantClient, folder: Path, collection: str) -> None:
        self._client = client
        self._folder = folder
        self._collection = collection
        self._next_number = 1 + max((number for number, _ in self._stored()), default=-1)

    @classmethod
    def open(cls, folder: Path, dimension: int, collection: str) -> HintCollection:
        """Open a collection, making the folder and the collection if they are not there.

        Raises:
            StoreError: If the folder is in use or unreadable, or the collection holds vectors of
                another length or distance.
        """
        try:
            check_folder(folder)
            client = QdrantClient(path=str(folder))
        except StoreError:
            raise
        except RuntimeError as error:
            raise in_use(folder) from error
        except Exception as error:
            raise damaged(folder, error) from error
        try:
            _prepare(client, folder, dimension, collection)
            return cls(client, folder, collection)
        except StoreError:
            client.close()
            raise
        except Exception as error:
            client.close()
            raise damaged(folder, error) from error

    def add(self, hint: Hint, direction: npt.NDArray[np.float64]) -> bool:
        """Store a hint unless its id is stored already; True if it was new.

        The point is on disk when this returns.
        """
        point_id = str(uuid.uuid5(_POINT_NAMESPACE, hint.hint_id))
        if self._client.retrieve(self._collection, [point_id], with_payload=False):
            return False
        payload = {"hint": hint.model_dump(), "number": self._next_number}
        point = models.PointStruct(id=point_id, vector=direction.tolist(), payload=payload)
        self._client.upsert(self._collection, [point])
        self._next_number += 1
        return True

    def search(self, direction: npt.NDArray[np.float64], limit: int) -> list[ScoredHint]:
        """The nearest hints, most similar first, equal similarities in order of id."""
        # One more than asked for shows whether a tie crosses the end of the list.
        points = self._nearest(direction, limit + 1, None)
        if len(points) > limit:
            last = rounded_similarity(points[limit - 1].score)
            if rounded_similarity(points[limit].score) == last:
                count = self._client.count(self._collection).count
                points = self._nearest(direction, count, last - 10**-SIMILARITY_DECIMALS)
        return nearest_first(((self._hint(point.payload), point.score) for point in points), limit)

    def all(self) -> list[Hint]:
        """Every hint, in the order of adding."""
        return [hint for _, hint in sorted(self._stored(), key=lambda each: each[0])]

    def close(self) -> None:
        """Give the folder back."""
        self._client.close()

    def _nearest(
        self, direction: npt.NDArray[np.float64], limit: int, above: float | None
    ) -> list[models.ScoredPoint]:
        return self._client.query_points(
            self._collection, query=direction.tolist(), limit=limit, score_threshold=above
        ).points

    def _stored(self) -> Iterator[tuple[int, Hint]]:
        offset: models.ExtendedPointId | None = None
        while True:
            records, following = self._client.scroll(self._collection, limit=_PAGE, offset=offset)
            for record in records:
                yield self._number(record.payload), self._hint(record.payload)
            if following is None:
                return
            offset = str(following)

    def _hint(self, payload: Mapping[str, Any] | None) -> Hint:
        try:
            return Hint.model_validate((payload or {})["hint"])
        except (KeyError, ValueError) as error:
            raise damaged(self._folder, f"a stored hint is incomplete: {error!r}") from error

    def _number(self, payload: Mapping[str, Any] | None) -> int:
        number = (payload or {}).get("number")
        if not isinstance(number, int):
            raise damaged(self._folder, "a stored hint has no number")
        return number


def _prepare(client: QdrantClient, folder: Path, dimension: int, collection: str) -> None:
    """Make the collection, or make sure that it fits."""
    if not client.collection_exists(collection):
        wanted = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        client.create_collection(collection, vectors_config=wanted)
        return
    found = client.get_collection(collection).config.params.vectors
    if not isinstance(found, models.VectorParams) or found.distance != models.Distance.COSINE:
        raise StoreError(
            f"{folder}: collection {collection!r} was not made by a hint store; "
            "use another collection name or folder"
        )
    if found.size != dimension:
        raise StoreError(
            f"{folder}: collection {collection!r} holds vectors of length {found.size}, not "
            f"{dimension}; use the embedding model it was made with, or another collection name "
            "or folder"
        )
