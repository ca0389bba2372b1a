"""How long very many things took: counted, so that memory is bounded and counts can be added."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

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
