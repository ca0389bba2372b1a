"""What the work on one session is told of to OpenTelemetry: its time, and the kind of its failure.

Neither the session's id nor anything else of it is told: it is a user's.
"""

from __future__ import annotations

from agentrec.graphs.session_failures import failure_of
from agentrec.timed_spans import METER, TimedSpan

_DURATION = METER.create_histogram(
    "agentrec.session.duration",
    unit="s",
    description="How long sessions were worked on.",
    explicit_bucket_boundaries_advisory=[0.01 * 2**step for step in range(16)],
)


def session_span() -> TimedSpan:
    """What to work on one session in; calls to the model that it is first to ask for are inside."""
    return TimedSpan("agentrec.session", _DURATION, {}, _kind_of)


def _kind_of(error: BaseException) -> str:
    # What is no Exception stops the work from outside: a limit of time, or whoever wants no more.
    return failure_of(error).kind if isinstance(error, Exception) else "unfinished"
