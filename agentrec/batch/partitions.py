"""A batch in parts, each with a log of its own, so that many processes can work on it at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentrec.data.session_rows import RejectedRow, SessionRow

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
        key = f"place {row.index}" if session_id is None else f"id {session_id}"
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
