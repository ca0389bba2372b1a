"""What OpenTelemetry receives about sessions: their time and how they failed, never whose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from langchain_core.messages import BaseMessage
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from testing.answering import make_components, make_session, targets_of, world
from testing.recorded_telemetry import RecordedTelemetry

from agentrec.catalog import Catalog, Item
from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.recommendation.recommend_many import recommend_many
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = [make_session(number) for number in range(12)]
DURATION = "agentrec.session.duration"


def model_for(sessions: Sequence[Session], **options: object) -> ScriptedChatModel:
    catalog = make_components(ScriptedChatModel([])).catalog
    answer = world(lambda *_: 3, targets_of(sessions, catalog))
    return ScriptedChatModel([answer] * len(sessions), **options)  # type: ignore[arg-type]


async def test_every_session_is_a_span_around_its_calls(telemetry: RecordedTelemetry) -> None:
    components = make_components(model_for(SESSIONS))
    results = [one async for one in recommend_many(SESSIONS, components, concurrency=5)]
    assert all(one.failure is None for one in results)
    (point,) = telemetry.points(DURATION)
    assert point.count == len(SESSIONS)
    assert dict(point.attributes) == {}
    assert 0 < point.sum <= sum(one.seconds for one in results)
    sessions, calls = telemetry.spans("agentrec.session"), telemetry.spans("chat scripted")
    assert len(sessions) == len(calls) == components.model.usage.total.calls == len(SESSIONS)
    above = {call.parent.span_id for call in calls if call.parent is not None}
    assert above == {span.context.span_id for span in sessions}
    # Unrelated sessions are not one trace, though the same worker did several.
    assert len({span.context.trace_id for span in sessions}) == len(SESSIONS)


async def test_sessions_belong_to_what_the_application_does(telemetry: RecordedTelemetry) -> None:
    with trace.get_tracer("application").start_as_current_span("nightly") as nightly:
        results = recommend_many(SESSIONS[:3], make_components(model_for(SESSIONS[:3])))
        assert len([one async for one in results]) == 3
    spans = telemetry.spans("agentrec.session")
    assert [span.parent for span in spans] == [nightly.get_span_context()] * 3


async def test_failures_are_told_by_kind(telemetry: RecordedTelemetry) -> None:
    script: list[object] = [ModelCallError("busy", kind="rate_limited"), ZeroDivisionError("why")]
    components = make_components(ScriptedChatModel(script))  # type: ignore[arg-type]

    def inputs(session: Session) -> dict[str, Session]:
        if session.session_id == "s2":
            raise InputError("is not for us")
        if session.session_id == "s3":
            raise KeyError("what")
        return {"session": session}

    results = recommend_many(SESSIONS[:4], components, inputs=inputs, concurrency=1)
    failures = [one.failure.kind async for one in results if one.failure is not None]
    assert failures == ["rate_limited", "failed", "bad_input", "error"]
    assert telemetry.counts(DURATION, "error.type") == dict.fromkeys(failures, 1)
    spans = telemetry.spans("agentrec.session")
    assert [(span.attributes or {})["error.type"] for span in spans] == failures
    for span in spans:
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert not span.events


async def test_what_is_given_up_is_unfinished(telemetry: RecordedTelemetry) -> None:
    components = make_components(model_for(SESSIONS[:3], latency=60))
    results = recommend_many(SESSIONS[:3], components, time_limit=0.05)
    assert [one.failure.kind async for one in results if one.failure] == ["unfinished"] * 3
    assert telemetry.counts(DURATION, "error.type") == {"unfinished": 3}
    await components.model.aclose(0)


async def test_nothing_of_users_items_or_texts_is_told(telemetry: RecordedTelemetry) -> None:
    titles = [f"CONFIDENTIAL film {number}" for number in range(8)]
    items = [Item(item_id=f"CONFIDENTIAL-{n}", title=title) for n, title in enumerate(titles)]
    catalog = Catalog(items)
    session = Session(
        session_id="CONFIDENTIAL-session",
        user_id="CONFIDENTIAL-user",
        items=(items[0].item_id,),
        candidates=tuple(item.item_id for item in items[1:]),
    )

    def answer(messages: Sequence[BaseMessage]) -> str:
        assert any("CONFIDENTIAL" in message.text for message in messages)
        return "CONFIDENTIAL thoughts"

    class Encoder:
        def state(self, session: Session) -> object:
            return make_components(ScriptedChatModel([])).encoder.state(make_session(0))

        def query(self, session: Session) -> object:
            return make_components(ScriptedChatModel([])).encoder.query(make_session(0))

    failure = ModelCallError("CONFIDENTIAL key", kind="refused")
    script = [answer, answer, failure, ValueError("CONFIDENTIAL words")]
    components = make_components(ScriptedChatModel(script), catalog=catalog, encoder=Encoder())
    other = session.model_copy(update={"items": (items[1].item_id, items[0].item_id)})
    third = session.model_copy(update={"items": (items[2].item_id, items[0].item_id)})
    results = recommend_many([session, other, third], components, concurrency=1)
    assert [one.failure.kind if one.failure else None async for one in results] == [
        None,
        "refused",
        "failed",
    ]
    assert telemetry.counts("gen_ai.client.operation.duration", "agentrec.node") == {
        "recommend": 3,
        "repair": 1,
    }
    assert "CONFIDENTIAL" not in telemetry.text()


async def test_who_wants_more_told_adds_it(telemetry: RecordedTelemetry) -> None:
    def inputs(session: Session) -> dict[str, Session]:
        trace.get_current_span().set_attribute("shop.history", len(session.items))
        return {"session": session}

    results = recommend_many(SESSIONS[:2], make_components(model_for(SESSIONS[:2])), inputs=inputs)
    assert len([one async for one in results]) == 2
    for span in telemetry.spans("agentrec.session"):
        assert dict(span.attributes or {}) == {"shop.history": 2}


_ALONE = """
import asyncio, sys
sys.modules["opentelemetry.sdk"] = None  # as where it is not installed
from opentelemetry import trace
from testing.answering import make_components, make_session, targets_of, world
from agentrec.graphs.recommendation.recommend_many import recommend_many
from agentrec.testing.scripted_chat_model import ScriptedChatModel

async def main():
    sessions = [make_session(number) for number in range(3)]
    model = ScriptedChatModel()
    components = make_components(model)
    model.add(*[world(lambda *_: 3, targets_of(sessions, components.catalog))] * 3)

    def inputs(session):
        assert trace.get_current_span() is trace.INVALID_SPAN
        return {"session": session}

    results = recommend_many(sessions, components, inputs=inputs)
    assert len([one.ranking async for one in results]) == 3

asyncio.run(main())
print("done")
"""


def test_without_an_sdk_all_works_and_nothing_is_told() -> None:
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
