"""What a batch is asked to do, its partitions, and the format of its result files."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentrec.atomic_files import write_atomically
from agentrec.data.session_rows import RejectedRow, SessionRow

ResultFormatName = Literal["jsonl", "parquet"]
EngineName = Literal["local", "ray"]

_PARTITIONS = "partitions"

RANKING_SCHEMA = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("row_index", pa.int64(), nullable=False),
        pa.field("items", pa.list_(pa.string()), nullable=False),
        pa.field("hint_id", pa.string()),
        pa.field("backfilled", pa.int32()),
        pa.field("illegal", pa.int32()),
        pa.field("repaired", pa.bool_()),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("seconds", pa.float64()),
    ]
)
"""Columns of a result; ``row_index`` is the index of the session's row in the input, from 0."""


class BatchOptions(BaseModel):
    """What a batch is asked to do.

    Attributes:
        sessions: The file of sessions.
        out: Folder for the results.
        result_format: How results are written.
        retry_failed: Whether sessions that failed before are tried again.
        resume: Whether to resume a batch found in ``out``.
        time_limit: Seconds after which a session is given up, above 0; ``None`` for never.
        workers: Number of workers, at least 1.
        engine: ``local`` for this process alone, or ``ray``; ``None`` for Ray if there is more
            than one worker.
        partitions: Number of partitions of a new batch, at least 1; ``None`` for one per worker.
    """

    model_config = ConfigDict(frozen=True)

    sessions: Path
    out: Path
    result_format: ResultFormatName = "parquet"
    retry_failed: bool = False
    resume: bool = True
    time_limit: float | None = Field(default=None, gt=0)
    workers: int = Field(default=1, ge=1)
    engine: EngineName | None = None
    partitions: int | None = Field(default=None, ge=1)


class Partition(BaseModel):
    """One partition of a batch: the rows whose session ids have a certain hash.

    Attributes:
        index: Which partition, from 0.
        count: How many there are, at least 1.

    Raises:
        ValueError: If a number is out of range.
    """

    model_config = ConfigDict(frozen=True)

    index: int = Field(default=0, ge=0)
    count: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _index_in_range(self) -> Partition:
        if self.index >= self.count:
            raise ValueError(f"partition {self.index} of {self.count} does not exist")
        return self

    def contains(self, row: SessionRow | RejectedRow) -> bool:
        """Whether a row belongs to it; a row without a readable id is assigned by its index."""
        if self.count == 1:
            return True
        session_id = row.session_id if isinstance(row, RejectedRow) else row.session.session_id
        # These strings are kept for ever: others would move rows to other partitions.
        key = f"place {row.index}" if session_id is None else f"id {session_id}"
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index

    def folder(self, batch: Path) -> Path:
        """The folder of its log and journal; an only partition uses the batch's own."""
        return batch if self.count == 1 else batch / _PARTITIONS / f"{self.index:03d}"

    @property
    def file_prefix(self) -> str:
        """Prefix that keeps its result files apart from those of other partitions."""
        return "" if self.count == 1 else f"{self.index:03d}-"


def partitions(count: int) -> list[Partition]:
    """Return all partitions of a batch.

    Args:
        count: How many, at least 1.
    """
    return [Partition(index=index, count=count) for index in range(count)]


@dataclass(frozen=True)
class ResultFormat:
    """How result files are written.

    Attributes:
        name: ``jsonl`` or ``parquet``.
        schema: The columns of Parquet.
    """

    name: ResultFormatName
    schema: pa.Schema = RANKING_SCHEMA

    def write(self, file: Path, rows: Iterable[Mapping[str, object]]) -> None:
        """Write a file atomically; equal rows give equal bytes. Blocks.

        Raises:
            OSError: If it cannot be written.
        """
        if self.name == "jsonl":
            lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
            content = "".join(f"{line}\n" for line in lines).encode()
        else:
            buffer = io.BytesIO()
            table = pa.Table.from_pylist([dict(row) for row in rows], schema=self.schema)
            pq.write_table(table, buffer, compression="zstd")
            content = buffer.getvalue()
        write_atomically(file, content)
