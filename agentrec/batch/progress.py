"""How far a batch is: counts of one attempt that add up over partitions and processes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

_BUCKET_WIDTH = math.log(1.02)
_SHORTEST = 1e-6


class Latencies(BaseModel):
    """Durations in logarithmic buckets, each 2 % wide: bounded memory, quantiles within 1 %.

    Attributes:
        counts: Number of durations per bucket.
    """

    model_config = ConfigDict(frozen=True)

    counts: Mapping[int, int] = Field(default_factory=dict)

    def __add__(self, other: Latencies) -> Latencies:
        return Latencies(counts=Counter(self.counts) + Counter(other.counts))

    @staticmethod
    def bucket(seconds: float) -> int:
        """Return the bucket of a duration of at least 0 seconds."""
        return math.floor(math.log(max(seconds, _SHORTEST)) / _BUCKET_WIDTH)

    def quantile(self, share: float) -> float:
        """Return the duration that a share of all does not exceed, in seconds; 0 if there is none.

        Args:
            share: From 0 to 1.
        """
        rank = share * sum(self.counts.values())
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return math.exp((bucket + 0.5) * _BUCKET_WIDTH)
        return 0.0


class BatchProgress(BaseModel):
    """What an attempt has done so far.

    Attributes:
        done: Sessions with a result.
        failed: Failed sessions, by kind of failure.
        rejected: Rows that are not usable sessions, by reason.
        skipped: Rows that an earlier attempt had finished.
        tokens: Tokens read and written.
        money: What they cost; ``None`` if a price is not known.
        latencies: Seconds per session with a result.
    """

    model_config = ConfigDict(frozen=True)

    done: int = 0
    failed: Mapping[str, int] = Field(default_factory=dict)
    rejected: Mapping[str, int] = Field(default_factory=dict)
    skipped: int = 0
    tokens: int = 0
    money: float | None = 0.0
    latencies: Latencies = Field(default_factory=Latencies)

    def __add__(self, other: BatchProgress) -> BatchProgress:
        money = None
        if self.money is not None and other.money is not None:
            money = self.money + other.money
        return BatchProgress(
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
        """Rows that are finished."""
        return self.attempted + sum(self.rejected.values()) + self.skipped

    def then(self, later: BatchProgress) -> BatchProgress:
        """Add the progress of a process that took over; it skipped what is counted here."""
        both = self + later
        return both.model_copy(update={"skipped": self.skipped + max(0, later.skipped - self.rows)})


@dataclass
class ProgressCounter:
    """Counts what a worker does; see ``BatchProgress`` for the fields."""

    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    latency_buckets: Counter[int] = field(default_factory=Counter)

    def count_done(self, seconds: float) -> None:
        """Count a session with a result and the seconds that it took."""
        self.done += 1
        self.latency_buckets[Latencies.bucket(seconds)] += 1

    def progress(self, tokens: int, money: float | None) -> BatchProgress:
        """Return the counts so far, with what calls cost in tokens and money."""
        return BatchProgress(
            done=self.done,
            failed=dict(self.failed),
            rejected=dict(self.rejected),
            skipped=self.skipped,
            tokens=tokens,
            money=money,
            latencies=Latencies(counts=dict(self.latency_buckets)),
        )
