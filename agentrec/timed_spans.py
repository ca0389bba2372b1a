"""OpenTelemetry spans whose duration also goes into a histogram.

Until an application or `opentelemetry-instrument` sets up an SDK, next to nothing is done.
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
"""Creates all instruments of agentrec; they start to work once an SDK is set up."""

ERROR_TYPE = "error.type"


class TimedSpan:
    """A span, the parent of all spans inside it; entered once.

    Of a failure only the type is exported: an exception's text may contain user text or a key.

    Args:
        name: Name of the span, of low cardinality.
        histogram: Receives the duration in seconds.
        attributes: Attributes of span and duration, of low cardinality; not changed.
        error_type: Returns the error type, of low cardinality, for an exception.
        kind: Kind of the span.
    """

    __slots__ = ("_attributes", "_begun", "_error", "_error_type", "_histogram", "_token", "span")

    span: Span

    def __init__(
        self,
        name: str,
        histogram: metrics.Histogram,
        attributes: Mapping[str, str],
        error_type: Callable[[BaseException], str],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        self.span = _TRACER.start_span(name, kind=kind, attributes=attributes)
        self._histogram = histogram
        self._attributes = attributes
        self._error_type = error_type
        self._error: str | None = None
        self._token: Token[context.Context] | None = None

    def failed(self, kind: str) -> None:
        """Mark the span as failed, though it ends without an exception."""
        self._error = kind

    def __enter__(self) -> Self:
        # A span that is not sampled is the parent too: the spans inside must not be sampled either.
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
            self._error = self._error_type(error)
        if self._error is not None:
            attributes = {**attributes, ERROR_TYPE: self._error}
            self.span.set_attribute(ERROR_TYPE, self._error)
            self.span.set_status(StatusCode.ERROR)
        # While the span is current, so that an exemplar leads to it.
        self._histogram.record(seconds, attributes)
        if self._token is not None:
            context.detach(self._token)
            self.span.end()
