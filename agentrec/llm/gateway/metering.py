"""Counting calls as they are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from agentrec.llm.cost.prices import Price
from agentrec.llm.cost.usage import NodeUsage, Usage
from agentrec.llm.gateway.call_telemetry import CallTelemetry


class UsageMeter:
    """Counts by node.

    Args:
        telemetry: Told of answers that needed no call.
    """

    def __init__(self, telemetry: CallTelemetry) -> None:
        self._telemetry = telemetry
        self._made: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._retried: Counter[str] = Counter()
        self._cached: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._written: Counter[str] = Counter()

    def made(self, node: str, attempt: int) -> None:
        """A call is being made, as the attempt of that number, from 1."""
        self._made[node] += 1
        if attempt > 1:
            self._retried[node] += 1

    def failed(self, node: str) -> None:
        """It failed."""
        self._failed[node] += 1

    def paid(self, node: str, input_tokens: int, output_tokens: int) -> None:
        """It came to so many tokens."""
        self._read[node] += input_tokens
        self._written[node] += output_tokens

    def cached(self, node: str) -> None:
        """An answer needed no call of its own."""
        self._cached[node] += 1
        self._telemetry.cached(node)

    @property
    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """By node: calls ``made``, those that ``failed``, and answers ``cached``."""
        return {
            "made": dict(self._made),
            "failed": dict(self._failed),
            "cached": dict(self._cached),
        }

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written in all."""
        return {"input": self._read.total(), "output": self._written.total()}

    def usage(self, price: Price | None) -> Usage:
        """All counts, with what they cost."""
        return Usage(
            {
                node: NodeUsage(
                    calls=self._made[node],
                    failures=self._failed[node],
                    retries=self._retried[node],
                    cached=self._cached[node],
                    input_tokens=self._read[node],
                    output_tokens=self._written[node],
                    money=None
                    if price is None
                    else price.of(self._read[node], self._written[node]),
                )
                for node in sorted({*self._made, *self._cached})
            }
        )
