"""What OpenTelemetry is told of calls is what the gateway counts, and nothing that anyone wrote."""

from __future__ import annotations

import asyncio

import pytest
from llm.conversations import asking
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from testing.recorded_telemetry import RecordedTelemetry

from agentrec.errors import ModelCallError
from agentrec.llm.cost.usage import Price, PriceTable
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.testing.scripted_chat_model import ScriptedChatModel

DURATION = "gen_ai.client.operation.duration"
TOKENS = "gen_ai.client.token.usage"
PRICES = PriceTable({"scripted": Price(2, 4)}, "EUR")
BUSY = ModelCallError("busy", kind="rate_limited")


def gateway(model: ScriptedChatModel, name: str = "test:scripted", **options) -> ModelGateway:  # type: ignore[no-untyped-def]
    retries = RetryPolicy(max_attempts=3, first_wait=0)
    return ModelGateway(model, name, retries=retries, prices=PRICES, **options)


async def test_metrics_are_what_the_gateway_counts(telemetry: RecordedTelemetry) -> None:
    """Tokens, money, calls, further attempts and cached answers, by node."""
    script = ["one two", BUSY, "three", "", "four five six", BUSY, BUSY, "seven"]
    model = gateway(ScriptedChatModel(script))
    for node, text in [("recommend", "a b"), ("recommend", "c"), ("reflect", "d e f")]:
        await model.ask(node, asking(text))
    await model.ask("repair", asking("g"))
    await model.ask("reflect", asking("a b"))
    await asyncio.gather(*(model.ask("repair", asking("g")) for _ in range(3)))
    usage = model.usage.by_node
    assert sum(one.retries for one in usage.values()) == 4

    made = {node: one.calls for node, one in usage.items()}
    assert telemetry.counts(DURATION, "agentrec.node") == made
    kinds = {"input": "input_tokens", "output": "output_tokens"}
    for kind, field in kinds.items():
        told = telemetry.sums(TOKENS, "agentrec.node", **{"gen_ai.token.type": kind})
        assert told == {node: getattr(one, field) for node, one in usage.items()}
    for metric, field in [
        ("agentrec.call.retries", "retries"),
        ("agentrec.answers.cached", "cached"),
        ("agentrec.call.cost", "money"),
    ]:
        told = telemetry.sums(metric, "agentrec.node")
        expected = {node: getattr(one, field) for node, one in usage.items()}
        assert told == pytest.approx({node: many for node, many in expected.items() if many})
    assert telemetry.counts(DURATION, "error.type") == {None: 4, "rate_limited": 3, "malformed": 1}
    assert telemetry.sums("agentrec.call.cost", "agentrec.currency").keys() == {"EUR"}
    assert len(telemetry.spans()) == sum(made.values())


async def test_a_call_is_a_span(telemetry: RecordedTelemetry) -> None:
    await gateway(ScriptedChatModel(["one two"]), "openai:scripted").ask("reflect", asking("a"))
    (span,) = telemetry.spans()
    assert (span.name, span.kind) == ("chat scripted", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 2,
        "agentrec.node": "reflect",
        "agentrec.attempt": 1,
        "agentrec.cost": pytest.approx(1e-5),
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_a_failure_is_a_kind_and_no_words(telemetry: RecordedTelemetry) -> None:
    secret = "sk-ant-0123456789 of Jane Doe"
    model = gateway(ScriptedChatModel([ModelCallError(secret, kind="refused"), ValueError(secret)]))
    for text in ("first", "second"):
        with pytest.raises(ModelCallError):
            await model.ask("recommend", asking(f"{text} {secret}"))
    told = [(span.attributes or {})["error.type"] for span in telemetry.spans()]
    assert told == ["refused", "failed"]
    for span in telemetry.spans():
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert not span.events
    assert "Jane" not in telemetry.text()


async def test_a_cancelled_call_is_reported_as_cancelled(telemetry: RecordedTelemetry) -> None:
    model = gateway(ScriptedChatModel(["late"], latency=60))
    late = asyncio.create_task(model.ask("recommend", asking("a")))
    await asyncio.sleep(0.01)
    late.cancel()
    await model.aclose(0)
    assert telemetry.counts(DURATION, "error.type") == {"cancelled": 1}
    assert [(span.attributes or {})["error.type"] for span in telemetry.spans()] == ["cancelled"]
    assert model.usage.total.calls == 1


async def test_a_shared_call_belongs_to_whoever_asked_first(telemetry: RecordedTelemetry) -> None:
    model = gateway(ScriptedChatModel(["both"], latency=0.02))
    tracer = trace.get_tracer("test")

    async def caller(name: str) -> str:
        with tracer.start_as_current_span(name):
            return await model.ask("recommend", asking("the same"))

    first = asyncio.create_task(caller("first"))
    await asyncio.sleep(0)
    second = asyncio.create_task(caller("second"))
    await asyncio.sleep(0.001)
    # It goes on for the second, and stays the first one's.
    first.cancel()
    assert await second == "both"
    (call,), (parent,) = telemetry.spans("chat scripted"), telemetry.spans("first")
    assert call.parent == parent.context


async def test_what_is_not_sampled_above_is_not_sampled_below(telemetry: RecordedTelemetry) -> None:
    above = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0)))
    with trace.use_span(above):
        model = gateway(ScriptedChatModel(["one"]))
        await model.ask("recommend", asking("a"))
    assert not telemetry.spans()
    assert telemetry.counts(DURATION, "agentrec.node") == {"recommend": 1}


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("scripted", None, "scripted"),
        ('openai:org/m@1a2b3c4d {"user":"jane"}', "openai", "org/m"),
        ("ollama:llama3:8b", "ollama", "llama3:8b"),
        ("google_genai:gemini", "gcp.gemini", "gemini"),
    ],
)
async def test_a_model_is_reported_by_provider_and_name(
    name: str, provider: str | None, model: str, telemetry: RecordedTelemetry
) -> None:
    await gateway(ScriptedChatModel(["one"]), name).ask("recommend", asking("a"))
    assert telemetry.counts(DURATION, "gen_ai.provider.name") == {provider: 1}
    assert telemetry.counts(DURATION, "gen_ai.request.model") == {model: 1}
    assert [span.name for span in telemetry.spans()] == [f"chat {model}"]
