"""How parts of a batch's results are written: JSON lines, or Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from agentrec.atomic_files import write_atomically

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
