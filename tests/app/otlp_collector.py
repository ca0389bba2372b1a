"""A collector for OpenTelemetry's own protocol, and commands that export to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_INSTRUMENT = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
_AGENTREC = "from agentrec.app.cli.main import main; main()"


class Collector(ThreadingHTTPServer):
    """Receives spans and metrics over HTTP."""

    def __init__(self) -> None:
        self.spans: Counter[str] = Counter()
        self._counts: dict[tuple[str, str], int] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in sent.scope_spans:
                    self.spans.update(span.name for span in scope.spans)
        elif path == "/v1/metrics":
            for sent in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                process = str(sent.resource)
                for meter in sent.scope_metrics:
                    for metric in meter.metrics:
                        # Counted since the start of a process: its last export counts.
                        points = metric.histogram.data_points
                        self._counts[metric.name, process] = sum(one.count for one in points)

    def count(self, metric: str) -> int:
        """Return how many values a histogram has, over all processes."""
        return sum(count for (name, _), count in self._counts.items() if name == metric)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        serving = Thread(target=collector.serve_forever, daemon=True)
        serving.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            serving.join()


def exported(collector: Collector, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `agentrec` under `opentelemetry-instrument`, configured by variables alone."""
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_address[1]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "agentrec",
    }
    python = [sys.executable, "-c"]
    return subprocess.run(
        [*python, _INSTRUMENT, *python, _AGENTREC, *arguments],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
