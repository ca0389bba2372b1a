"""How long very many things took: counted, so that memory is bounded and counts can be added."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agentrec.atomic_files import write_atomically

_WIDTH = math.log(1.02)
_SHORTEST = 1e-6


class Latencies(BaseModel):
    """Durations by logarithmic bucket, each 2 % wide: quantiles are right to 1 %.

    Attributes:
        counts: How many durations are in which bucket.
    """

    model_config = ConfigDict(frozen=True)

    counts: Mapping[int, int] = Field(default_factory=dict)

    def __add__(self, other: Latencies) -> Latencies:
        return Latencies(counts=Counter(self.counts) + Counter(other.counts))

    def quantile(self, share: float) -> float:
        """The duration that a share of all do not exceed, in seconds; 0 where there are none.

        Args:
            share: From 0 to 1.
        """
        wanted = share * sum(self.counts.values())
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return math.exp((bucket + 0.5) * _WIDTH)
        return 0.0


class LatencyCounter:
    """Counts durations as they are measured."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one, of at least 0 seconds."""
        self._counts[math.floor(math.log(max(seconds, _SHORTEST)) / _WIDTH)] += 1

    def latencies(self) -> Latencies:
        """What was counted so far."""
        return Latencies(counts=dict(self._counts))


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
