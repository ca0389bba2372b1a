import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import openai
import pytest
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI

from agentrec.testing.faulty_server import (
    FAULTS,
    GARBAGE,
    Fault,
    FaultPlan,
    FaultyServer,
)
from agentrec.testing.scripted_chat_model import ScriptedChatModel

GOOD = "1. C01 | Heat"
SCHEMA = {"type": "object", "properties": {"ranking": {"type": "array"}}}
AS_JSON = {
    "type": "json_schema",
    "json_schema": {"name": "ranking", "schema": SCHEMA},
}


def serving(plan: FaultPlan, **options: Any) -> FaultyServer:
    return FaultyServer(ScriptedChatModel([GOOD] * 1_000), plan, **options)


def client(server: FaultyServer, timeout: float = 5.0) -> ChatOpenAI:
    return ChatOpenAI(
        model="local",
        base_url=server.base_url,
        api_key="unused",
        max_retries=0,
        timeout=timeout,
    )


async def outcome(chat: ChatOpenAI, question: str) -> str:
    try:
        return (await chat.ainvoke(question)).text
    except openai.APITimeoutError:
        return "timed out"
    except openai.APIConnectionError:
        return "cut off"
    except openai.APIError as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limited", openai.RateLimitError),
        ("rate_limited_bare", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("timed_out", openai.APITimeoutError),
        ("cut_off", openai.APIConnectionError),
    ],
)
async def test_faults_of_transport(kind: Fault, expected: type[Exception]) -> None:
    with serving(FaultPlan(share=1.0, kinds=(kind,), retry_after=1.5, hang=30.0)) as server:
        chat = client(server, 0.3 if kind == "timed_out" else 5.0)
        with pytest.raises(expected) as caught:
            await chat.ainvoke("x")
        assert server.faults == {kind: 1}
        assert server.clean == 0
        # A time-out is a kind of connection error to this client; a cut answer is not one.
        assert isinstance(caught.value, openai.APITimeoutError) == (kind == "timed_out")
        if isinstance(caught.value, openai.RateLimitError):
            waits = caught.value.response.headers.get("retry-after")
            assert waits == ("1.5" if kind == "rate_limited" else None)


async def test_a_call_that_hangs_does_not_hold_up_the_end() -> None:
    start = time.perf_counter()
    with serving(FaultPlan(share=1.0, kinds=("timed_out",), hang=60.0)) as server:
        assert await outcome(client(server, 0.2), "x") == "timed out"
    # It ended before the call would have.
    assert time.perf_counter() - start < 60


async def test_answers_of_no_use_arrive_as_they_are() -> None:
    with serving(FaultPlan(share=1.0, kinds=("empty",))) as server:
        assert (await client(server).ainvoke("x")).text == ""
    with serving(FaultPlan(share=1.0, kinds=("garbage",))) as server:
        chat = client(server)
        got = {(await chat.ainvoke(f"{n}")).text for n in range(80)}
        assert got == set(GARBAGE)
        assert server.faults == {"garbage": 80}
    with serving(FaultPlan(share=1.0, kinds=("foreign",))) as server:
        rows = (await client(server).ainvoke("x")).text.splitlines()
        assert len(rows) == 10
        assert sum("C01 | again" in row for row in rows) >= 2


@pytest.mark.parametrize("kinds", [("foreign",), ("garbage",)])
async def test_who_asks_for_json_gets_its_faults_in_it(kinds: tuple[Fault, ...]) -> None:
    def write(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> str:
        return '{"ranking": ["C01"]}'

    with serving(FaultPlan(share=0.5, kinds=kinds, seed=3), write_json=write) as server:
        chat = client(server).bind(response_format=AS_JSON)
        texts = [(await chat.ainvoke(f"{n}")).text for n in range(20)]
        bad = [text for text in texts if text != '{"ranking": ["C01"]}']
        assert len(bad) == server.faults[kinds[0]]
        assert 0 < len(bad) < 20
        if kinds == ("foreign",):
            assert all(len(json.loads(text)["ranking"]) == 10 for text in bad)
        else:
            assert set(bad) <= set(GARBAGE)


async def test_by_order_the_nth_call_always_fares_the_same() -> None:
    async def run(seed: int, questions: Sequence[str]) -> list[str]:
        plan = FaultPlan(share=0.5, kinds=("empty", "server_error"), seed=seed, drawn_by="order")
        with serving(plan) as server:
            chat = client(server)
            return [await outcome(chat, question) for question in questions]

    first = await run(0, ["same"] * 30)
    assert first == await run(0, [f"other {n}" for n in range(30)])
    assert first != await run(1, ["same"] * 30)
    assert len(set(first)) == 3


async def test_by_content_the_order_of_racing_calls_does_not_matter() -> None:
    questions = [f"question {n % 20}" for n in range(60)]

    async def run(order: Sequence[str]) -> tuple[dict[str, Counter[str]], Counter[Fault]]:
        with serving(FaultPlan(share=0.5, kinds=("empty", "server_error"))) as server:
            chat = client(server)
            got = await asyncio.gather(*(outcome(chat, question) for question in order))
            assert server.faults.total() + server.clean == server.requests == 60
        by_question: dict[str, Counter[str]] = {question: Counter() for question in order}
        for question, text in zip(order, got, strict=True):
            by_question[question][text] += 1
        return by_question, server.faults

    one = await run(questions)
    assert one == await run(random.Random(0).sample(questions, 60))
    # Trying again is a new draw: no question is doomed.
    assert sum(GOOD in texts for texts in one[0].values()) > 12
    assert any(len(texts) > 1 for texts in one[0].values())


async def test_the_share_is_kept_and_every_kind_comes() -> None:
    plan = FaultPlan(share=0.4, hang=0.01)
    with serving(plan) as server:
        lot = range(400)
        for n in lot:
            request = type("Asked", (), {"body": {"messages": [str(n)]}})()
            server._draw(request)
        assert 0.33 < server.faults.total() / 400 < 0.47
        assert set(server.faults) == set(FAULTS)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"share": 1.1}, "share"),
        ({"share": -0.1}, "share"),
        ({"kinds": ()}, "kinds"),
        ({"kinds": ("typo",)}, "typo"),
        ({"retry_after": -1}, "retry_after"),
        ({"hang": 0}, "hang"),
    ],
)
def test_impossible_plans_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FaultPlan(**wrong)
