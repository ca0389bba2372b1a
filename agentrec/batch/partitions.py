"""How parts of a batch's results are written: JSON lines, or Parquet."""

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

RANKING_SCHEMA = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("place", pa.int64(), nullable=False),
        pa.field("items", pa.list_(pa.string()), nullable=False),
        pa.field("hint_id", pa.string()),
        pa.field("backfilled", pa.int32()),
        pa.field("illegal", pa.int32()),
        pa.field("repaired", pa.bool_()),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("seconds", pa.float64()),
    ]
)
"""Columns of a ranking; ``place`` is the number of the session's row in the input, from 0."""


@dataclass(frozen=True)
class ResultFormat:
    """How parts are written.

    Attributes:
        name: ``jsonl`` or ``parquet``.
        schema: The columns of Parquet.
    """

    name: ResultFormatName
    schema: pa.Schema = RANKING_SCHEMA

    @property
    def suffix(self) -> str:
        """Ending of the files' names."""
        return f".{self.name}"

    def write(self, file: Path, rows: Iterable[Mapping[str, object]]) -> None:
        """Write a file in one step; the same rows make the same bytes. Blocks.

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


FOLDER = "partitions"
"""Name of the folder that holds a folder for each part, where there are several."""


class Partition(BaseModel):
    """Which sessions of a file are whose: by a hash of their ids, so two of one id are together.

    Attributes:
        number: Which part, from 0.
        of: How many parts there are, at least 1.

    Raises:
        ValueError: If a number is out of range.
    """

    model_config = ConfigDict(frozen=True)

    number: int = Field(default=0, ge=0)
    of: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Partition:
        if self.number >= self.of:
            raise ValueError(f"part {self.number} is none of {self.of}, counted from 0")
        return self

    def holds(self, row: SessionRow | RejectedRow) -> bool:
        """Whether a row belongs to it; one whose id cannot be read goes by its place."""
        if self.of == 1:
            return True
        session_id = row.session_id if isinstance(row, RejectedRow) else row.session.session_id
        key = f"place {row.place}" if session_id is None else f"id {session_id}"
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.of == self.number

    def folder(self, batch: Path) -> Path:
        """Where its log and its journal lie; a part that is the whole has no folder of its own."""
        return batch if self.of == 1 else batch / FOLDER / f"{self.number:03d}"

    @property
    def label(self) -> str:
        """What its files of results are told apart by."""
        return "" if self.of == 1 else f"{self.number:03d}-"


def partitions(count: int) -> list[Partition]:
    """All parts of a batch.

    Args:
        count: How many, at least 1.
    """
    return [Partition(number=number, of=count) for number in range(count)]


EngineName = Literal["local", "ray"]


class BatchOptions(BaseModel):
    """What is asked of a batch.

    Attributes:
        sessions: The file of sessions.
        out: Where results go.
        form: How they are written.
        retry_failed: Whether sessions that failed before are tried again.
        resume: Whether to go on with what is in ``out``.
        time_limit: After how many seconds, above 0, a session is given up; ``None`` for never.
        workers: How many processes work on it, at least 1.
        engine: What drives them: processes of this machine, or a Ray cluster.
        partitions: In how many parts it is worked on, at least 1; ``None`` for as many as
            workers, or as there are in a batch that goes on.
    """

    model_config = ConfigDict(frozen=True)

    sessions: Path
    out: Path
    form: ResultFormatName = "parquet"
    retry_failed: bool = False
    resume: bool = True
    time_limit: float | None = Field(default=None, gt=0)
    workers: int = Field(default=1, ge=1)
    engine: EngineName = "local"
    partitions: int | None = Field(default=None, ge=1)
