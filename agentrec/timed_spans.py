"""What takes time, told to OpenTelemetry: as a span, and in a histogram of how long it took.

Without an SDK that an application or `opentelemetry-instrument` sets up, nobody is told and next to
nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from time import perf_counter
from types import TracebackType
from typing import Self

from opentelemetry import context, metrics, trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode

_SCOPE = "agentrec"
_TRACER = trace.get_tracer(_SCOPE)
METER = metrics.get_meter(_SCOPE)
"""Makes all instruments of agentrec; they begin to work when an SDK is set up, also later."""

ERROR_TYPE = "error.type"


class TimedSpan:
    """Something that is being done, the parent of all spans inside it; entered once.

    Of a failure its kind is told and nothing else: the text of an exception may hold what a user
    wrote, or a key.

    Args:
        name: What is done; of few different ones.
        histogram: Where the seconds go.
        attributes: What span and seconds are told with, of few different values; not changed.
        kind_of: Says in one of few words what an exception that ends it means.
        kind: How it stands to what it calls.
    """

    __slots__ = ("_attributes", "_begun", "_error", "_histogram", "_kind_of", "_token", "span")

    span: Span

    def __init__(
        self,
        name: str,
        histogram: metrics.Histogram,
        attributes: Mapping[str, str],
        kind_of: Callable[[BaseException], str],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        self.span = _TRACER.start_span(name, kind=kind, attributes=attributes)
        self._histogram = histogram
        self._attributes = attributes
        self._kind_of = kind_of
        self._error: str | None = None
        self._token: Token[context.Context] | None = None

    def failed(self, kind: str) -> None:
        """Note that it came to nothing, though it ends without an exception."""
        self._error = kind

    def __enter__(self) -> Self:
        # A span that is not sampled is passed on too, for those inside must not be either.
        if self.span is not INVALID_SPAN:
            self._token = context.attach(trace.set_span_in_context(self.span))
        self._begun = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = perf_counter() - self._begun
        attributes = self._attributes
        if error is not None:
            self._error = self._kind_of(error)
        if self._error is not None:
            attributes = {**attributes, ERROR_TYPE: self._error}
            self.span.set_attribute(ERROR_TYPE, self._error)
            self.span.set_status(StatusCode.ERROR)
        # While the span is current, so that an exemplar leads to it.
        self._histogram.record(seconds, attributes)
        if self._token is not None:
            context.detach(self._token)
            self.span.end()
