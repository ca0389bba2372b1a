"""CPU of telling OpenTelemetry of calls and sessions, without an SDK and with one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from statistics import median

import pytest
from benchmarks.recommending_parts import InstantModel, load, parts, sessions
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentrec.graphs.recommendation.recommend_many import recommend_many, session_span
from agentrec.llm.cost.usage import Price, PriceTable
from agentrec.llm.gateway.call_metering import CallMeter
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.replies import Reply

TIMES, SESSIONS, ROUNDS = 5_000, 200, 7
REPLY = Reply("an answer", True, 900, 60, None)


def microseconds(what: Callable[[], None]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(TIMES):
            what()
        rounds.append((time.process_time() - begun) / TIMES)
    return 1e6 * median(rounds)


async def cpu_a_session() -> float:
    """Microseconds."""
    components, rounds = await parts(ModelGateway(InstantModel(), "instant")), []
    for n in range(ROUNDS + 1):
        given = list(sessions(SESSIONS, n * SESSIONS))
        begun = time.process_time()
        async with aclosing(recommend_many(given, components)) as results:
            async for result in results:
                assert result.failure is None
        rounds.append((time.process_time() - begun) / SESSIONS)
    return 1e6 * median(rounds[1:])


@pytest.mark.bench
async def test_cpu_of_telling() -> None:
    meter = CallMeter("instant", PriceTable({"instant": Price(1, 2)}, "EUR"))

    def call() -> None:
        with meter.call("recommend", 1) as span:
            span.replied(REPLY)

    def session() -> None:
        with session_span():
            pass

    # Once: between two of these a busy machine differs by more than telling costs.
    whole = await cpu_a_session()
    for with_sdk in (False, True):
        if with_sdk:
            provider = TracerProvider()
            provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
            trace.set_tracer_provider(provider)
            metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
        hooks = {"call": microseconds(call), "session": microseconds(session)}
        hooks["cached answer"] = microseconds(lambda: meter.cached("recommend"))
        told = ", ".join(f"{many:.1f} us a {name}" for name, many in hooks.items())
        share = (hooks["call"] + hooks["session"]) / whole
        print(
            f"\n{'with' if with_sdk else 'without'} an SDK: {told}; {100 * share:.2f} % of the "
            f"{whole:.0f} us CPU that a session of one call takes without one; {load()}"
        )
