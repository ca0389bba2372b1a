"""Which failed calls are retried, and after how long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from agentrec.errors import ModelCallError


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter, for transient failures.

    Full jitter draws the wait uniformly from 0 to its bound: callers that failed together do not
    return together. A wait is at least the ``Retry-After`` of the endpoint.

    A malformed answer has its own, lower limit. At temperature 0 a second answer differs from the
    first only by inexact arithmetic, which sometimes replaces an empty answer; a third rarely
    helps, and each one is paid for.

    Attributes:
        max_attempts: Most attempts at a call, at least 1; 1 for no retry.
        malformed_attempts: Most malformed answers to a call, at least 1.
        first_wait: Bound of the first wait in seconds, at least 0; each further one is twice it.
        longest_wait: Bound of all waits in seconds, at least 0.
        longest_retry_after: Longest ``Retry-After`` that is waited for, in seconds; a call with a
            longer one fails at once.
        timeout: Seconds after which an attempt is cancelled, above 0; ``None`` for no limit.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Raises:
        ValueError: If a number is out of range.
    """

    max_attempts: int = 5
    malformed_attempts: int = 2
    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_retry_after: float = 300.0
    timeout: float | None = 120.0

    def __post_init__(self) -> None:
        for name in ("max_attempts", "malformed_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("first_wait", "longest_wait", "longest_retry_after"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number of seconds, at least 0")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise ValueError("timeout must be a finite number of seconds above 0")

    def wait_after(self, failures: Sequence[ModelCallError], jitter: Random) -> float | None:
        """Return how long to wait before the next attempt.

        Args:
            failures: Failures of the attempts so far, in order, at least one.
            jitter: Source of the jitter.

        Returns:
            Seconds, at least 0; ``None`` for no further attempt.
        """
        error, attempt = failures[-1], len(failures)
        malformed = sum(each.kind == "malformed" for each in failures)
        if error.kind == "malformed" and malformed >= self.malformed_attempts:
            return None
        if not error.transient or attempt >= self.max_attempts:
            return None
        # The exponent is bounded because a large one overflows a float.
        bound = min(self.longest_wait, self.first_wait * 2 ** min(attempt - 1, 60))
        wait = jitter.uniform(0, bound)
        if error.retry_after is None:
            return wait
        if error.retry_after > self.longest_retry_after:
            return None
        return max(wait, error.retry_after)
