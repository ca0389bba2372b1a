"""When a failed call is made again, and after how long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from agentrec.errors import ModelCallError


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter, for failures that pass by themselves.

    Full jitter draws the wait evenly from 0 to its bound: callers that failed together do not
    come back together. An endpoint that names a time itself is waited for at least that long.

    A malformed answer has its own, lower bound. At temperature 0 a second answer differs from the
    first only by what the endpoint computes inexactly, which is enough to bring an empty answer to
    life now and then; a third rarely helps, and each one is paid for.

    Attributes:
        max_attempts: How often a call is made at most, at least 1; 1 for no second attempt.
        malformed_attempts: How many of its answers may be malformed, at least 1.
        first_wait: Bound of the first wait in seconds, at least 0; each further one is twice it.
        longest_wait: Bound of all waits in seconds, at least 0.
        longest_retry_after: The most seconds that an endpoint may ask for; a call it holds off for
            longer fails at once.
        timeout: Seconds after which an attempt is given up, above 0; ``None`` for no such limit.

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

    def wait_after(self, failures: Sequence[ModelCallError], draws: Random) -> float | None:
        """How long to wait before the next attempt.

        Args:
            failures: Why the attempts so far failed, in their order, at least one.
            draws: Where the jitter comes from.

        Returns:
            Seconds, at least 0; ``None`` if there should be no further attempt.
        """
        error, attempt = failures[-1], len(failures)
        malformed = sum(each.kind == "malformed" for each in failures)
        if error.kind == "malformed" and malformed >= self.malformed_attempts:
            return None
        if not error.transient or attempt >= self.max_attempts:
            return None
        # The exponent is bounded because a large one is no float any more.
        bound = min(self.longest_wait, self.first_wait * 2 ** min(attempt - 1, 60))
        wait = draws.uniform(0, bound)
        if error.retry_after is None:
            return wait
        if error.retry_after > self.longest_retry_after:
            return None
        return max(wait, error.retry_after)
