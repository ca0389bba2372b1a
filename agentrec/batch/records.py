"""What is kept of a session in a batch, and what is told of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Remarks = Literal["failures", "rejected"]
"""What is told of sessions without a result, each in a file of its own."""


@dataclass(frozen=True, slots=True)
class DoneSession:
    """A session that was worked on.

    Attributes:
        session_id: Its id, unique in its batch.
        place: Number of its row in the input, from 0.
        row: What is to be written of it, a JSON object.
        failure: Kind of its failure; ``None`` if it has a result.
    """

    session_id: str
    place: int
    row: Mapping[str, object]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class KnownSession:
    """What a log knows of a session.

    Attributes:
        place: Number of its row in the input, from 0.
        failure: Kind of its failure; ``None`` if it has a result.
    """

    place: int
    failure: str | None


@dataclass(frozen=True, slots=True)
class RejectedSession:
    """A row of the input that is no session to be worked on.

    Attributes:
        place: Number of the row, from 0.
        reason: A stable word for reports.
        row: What is to be written of it, a JSON object.
    """

    place: int
    reason: str
    row: Mapping[str, object]


@dataclass(frozen=True)
class BatchCounts:
    """How many sessions came to what.

    Attributes:
        done: Sessions with a result.
        failed: By kind of failure.
        rejected: Rows of the input that are no sessions, by reason.
    """

    done: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """Sessions that failed, whatever with."""
        return sum(self.failed.values())

    @property
    def rejections(self) -> int:
        """Rows that were rejected, whatever for."""
        return sum(self.rejected.values())
