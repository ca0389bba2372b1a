"""How far a batch is: what this attempt came to up to now, to be added up over processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agentrec.atomic_files import write_atomically
from agentrec.batch.latencies import Latencies


class Standing(BaseModel):
    """What an attempt came to up to now.

    Attributes:
        done: Sessions with a result.
        failed: By kind of failure.
        rejected: Rows that are no sessions, by reason.
        skipped: Rows that an earlier attempt had done with.
        tokens: Tokens read and written.
        money: What they cost; ``None`` if a price is not known.
        latencies: How long sessions with a result took.
    """

    model_config = ConfigDict(frozen=True)

    done: int = 0
    failed: Mapping[str, int] = Field(default_factory=dict)
    rejected: Mapping[str, int] = Field(default_factory=dict)
    skipped: int = 0
    tokens: int = 0
    money: float | None = 0.0
    latencies: Latencies = Field(default_factory=Latencies)

    def __add__(self, other: Standing) -> Standing:
        money = None
        if self.money is not None and other.money is not None:
            money = self.money + other.money
        return Standing(
            done=self.done + other.done,
            failed=Counter(self.failed) + Counter(other.failed),
            rejected=Counter(self.rejected) + Counter(other.rejected),
            skipped=self.skipped + other.skipped,
            tokens=self.tokens + other.tokens,
            money=money,
            latencies=self.latencies + other.latencies,
        )

    @property
    def attempted(self) -> int:
        """Sessions that were worked on."""
        return self.done + sum(self.failed.values())

    @property
    def rows(self) -> int:
        """Rows that are dealt with."""
        return self.attempted + sum(self.rejected.values()) + self.skipped

    def then(self, later: Standing) -> Standing:
        """This, and what a process came to that took over: it skipped what is counted here."""
        both = self + later
        return both.model_copy(update={"skipped": self.skipped + max(0, later.skipped - self.rows)})

    def save(self, file: Path) -> None:
        """Write it, whole or not at all; blocks."""
        write_atomically(file, self.model_dump_json().encode())

    @classmethod
    def load(cls, file: Path) -> Standing:
        """Read one that was saved; nothing where none was. Blocks."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValueError):
            # For who looks on only: it is being made, or a disk failed, which others will tell.
            return cls()
