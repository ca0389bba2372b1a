"""What OpenTelemetry's own SDK is told, kept in memory.

A process has one SDK for its life, so tests share it; what others told before is thrown away.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class RecordedTelemetry:
    """Spans and metrics since the last ``clear``."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        delta = AggregationTemporality.DELTA
        self._reader = InMemoryMetricReader({SdkCounter: delta, SdkHistogram: delta})
        self._collected: MetricsData | None = None
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([self._reader]))

    def clear(self) -> None:
        """Forget all that was told."""
        self._exporter.clear()
        self._reader.get_metrics_data()
        self._collected = None

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Those that ended, in the order of their ends; all, or those of a name."""
        ended = self._exporter.get_finished_spans()
        return [span for span in ended if name is None or span.name == name]

    def points(self, name: str) -> list[Any]:
        """The points of a metric, one for each set of attributes."""
        return [
            point
            for resource in ([] if self._metrics is None else self._metrics.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def sums(self, name: str, attribute: str, **having: str) -> dict[Any, float]:
        """By an attribute: the sum of a counter, or of a histogram's values."""
        found: Counter[Any] = Counter()
        for point in self.points(name):
            if all(point.attributes.get(key) == value for key, value in having.items()):
                value = point.sum if hasattr(point, "sum") else point.value
                found[point.attributes.get(attribute)] += value
        return dict(found)

    def counts(self, name: str, attribute: str) -> dict[Any, int]:
        """By an attribute: how many values a histogram has."""
        found: Counter[Any] = Counter()
        for point in self.points(name):
            found[point.attributes.get(attribute)] += point.count
        return dict(found)

    def text(self) -> str:
        """All of it, to look for what must not be there."""
        told = [span.to_json() for span in self.spans()]
        return "\n".join([*told, "" if self._metrics is None else self._metrics.to_json()])

    @property
    def _metrics(self) -> MetricsData | None:
        # Reading empties what is read.
        if self._collected is None:
            self._collected = self._reader.get_metrics_data()
        return self._collected


@cache
def recorded_telemetry() -> RecordedTelemetry:
    """The one of this process."""
    return RecordedTelemetry()
