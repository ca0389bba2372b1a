"""What a batch is about."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agentrec.batch.result_format import ResultFormatName

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
