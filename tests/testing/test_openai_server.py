import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from openai import BadRequestError, InternalServerError
from pydantic import BaseModel

from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel


def post(server: OpenAIServer, body: object, path: str = "/chat/completions") -> tuple[int, dict]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.base_url + path, raw, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def client(server: OpenAIServer) -> ChatOpenAI:
    return ChatOpenAI(
        model="local", base_url=server.base_url, api_key="unused", max_retries=0, temperature=0
    )


async def test_the_real_client_gets_the_models_answer() -> None:
    model = ScriptedChatModel(["1. C01 | Amélie", "again"])
    with OpenAIServer(model) as server:
        chat = client(server)
        answer = await chat.ainvoke([SystemMessage("Rank."), HumanMessage("Amélie or Heat?")])
        assert answer.text == "1. C01 | Amélie"
        assert answer.usage_metadata is not None
        assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (
            4,
            4,
        )
        assert chat.invoke([HumanMessage("a"), AIMessage("b"), HumanMessage("c")]).text == "again"
        assert server.requests == 2
        assert [[m.type for m in asked] for asked in server.asked] == [
            ["system", "human"],
            ["human", "ai", "human"],
        ]
    assert model.calls[0][1].text == "Amélie or Heat?"
    model.assert_exhausted()


def test_the_answer_has_the_shape_of_the_interface() -> None:
    with OpenAIServer(ScriptedChatModel(["hello there"])) as server:
        status, answer = post(
            server, {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
        )
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "any"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello there"},
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.mark.parametrize(
    ("body", "path", "status", "problem"),
    [
        (b"{", "/chat/completions", 400, "Expecting"),
        ([], "/chat/completions", 400, "JSON object"),
        ({"messages": []}, "/chat/completions", 400, "at least one"),
        ({"messages": [{"role": "nobody"}]}, "/chat/completions", 400, "cannot be read"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": True}, *[""] * 3),
        ({}, "/embeddings", 404, "/v1/chat/completions"),
    ],
)
def test_an_unreadable_request_is_refused_with_the_reason(
    body: object, path: str, status: int, problem: str
) -> None:
    with OpenAIServer(ScriptedChatModel()) as server:
        got, answer = post(server, body, path or "/chat/completions")
        assert got == (status or 400)
        assert (problem or "streaming") in answer["error"]["message"]
        assert server.requests == 0


def test_what_the_model_raises_is_a_server_error() -> None:
    with OpenAIServer(ScriptedChatModel([ValueError("no luck"), "luck"])) as server:
        body = {"messages": [{"role": "user", "content": "x"}]}
        assert post(server, body) == (
            500,
            {"error": {"message": "no luck", "type": "invalid_request_error", "code": None}},
        )
        assert post(server, body)[0] == 200
        assert server.requests == 2


class MeetingServer(OpenAIServer):
    """Answers nobody before so many wait at the same time."""

    def __init__(self, model: ScriptedChatModel, parties: int) -> None:
        super().__init__(model, latency=0.01)
        self._meeting = threading.Barrier(parties)

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self._meeting.wait(10)


def test_many_at_once_wait_side_by_side() -> None:
    with (
        MeetingServer(ScriptedChatModel(["x"] * 64), parties=64) as server,
        ThreadPoolExecutor(64) as pool,
    ):
        body = {"messages": [{"role": "user", "content": "x"}]}
        statuses = {status for status, _ in pool.map(lambda _: post(server, body), range(64))}
        assert (statuses, server.requests) == ({200}, 64)


def test_outside_its_block_there_is_no_address() -> None:
    server = OpenAIServer(ScriptedChatModel())
    with pytest.raises(RuntimeError, match="with block"):
        _ = server.base_url
    with server:
        address = server.base_url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=1)
    with server:
        assert server.base_url.startswith("http://127.0.0.1:")


def test_a_negative_latency_is_refused() -> None:
    with pytest.raises(ValueError, match="latency"):
        OpenAIServer(ScriptedChatModel(), latency=-1)


class Picked(BaseModel):
    """The answer's shape."""

    ranking: list[str]


def pick(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> str:
    """Fill the first field of whatever schema is asked for with what was asked."""
    (name, *_) = schema["properties"]
    return json.dumps({name: [messages[-1].text, "é"]})


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_structured_output_of_the_real_client(method: str) -> None:
    with OpenAIServer(ScriptedChatModel(["plain"]), write_json=pick) as server:
        chat = client(server)
        structured = chat.with_structured_output(Picked, method=method)
        assert await structured.ainvoke("C07") == Picked(ranking=["C07", "é"])
        assert (await chat.ainvoke("x")).text == "plain"
        asked = "response_format" if method == "json_schema" else "tool_choice"
        assert [asked in body for body in server.bodies] == [True, False]


async def test_json_of_any_shape_and_a_writer_that_fails() -> None:
    def write(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> str:
        assert schema == {}
        return '{"a": 1}'

    with OpenAIServer(ScriptedChatModel(), write_json=write) as server:
        chat = client(server)
        answer = await chat.bind(response_format={"type": "json_object"}).ainvoke("x")
        assert answer.text == '{"a": 1}'
        schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array"}}}
        with pytest.raises(InternalServerError):
            await chat.bind(response_format=schema).ainvoke("x")


async def test_without_a_writer_the_model_answers_in_text() -> None:
    with OpenAIServer(ScriptedChatModel(["1. C01", "1. C02"])) as server:
        chat = client(server)
        bound = chat.bind(response_format={"type": "json_object"})
        assert (await bound.ainvoke("x")).text == "1. C01"
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        answer = await chat.bind(tools=tools, tool_choice="required").ainvoke("x")
        assert (answer.text, answer.tool_calls) == ("1. C02", [])


async def test_fields_an_endpoint_does_not_know_are_refused() -> None:
    model = ScriptedChatModel(["fine"])
    with OpenAIServer(model, write_json=pick, refused=["response_format"]) as server:
        chat = client(server)
        with pytest.raises(BadRequestError, match="response_format"):
            await chat.with_structured_output(Picked, method="json_schema").ainvoke("x")
        assert (await chat.ainvoke("x")).text == "fine"
        assert server.requests == 2
    model.assert_exhausted()


def test_arrivals_are_monotonic_and_one_a_request() -> None:
    with OpenAIServer(ScriptedChatModel(["x"] * 3)) as server:
        before = time.monotonic()
        for _ in range(3):
            post(server, {"messages": [{"role": "user", "content": "x"}]})
        post(server, {"messages": []})
        assert len(server.arrivals) == server.requests == 3
        times = [before, *server.arrivals, time.monotonic()]
        assert times == sorted(times)


def test_usage_is_the_models_or_counted_in_words_or_left_out() -> None:
    class Silent(ScriptedChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            problem = {"finish_reason": "length"}
            message = AIMessage("one two three", response_metadata=problem)
            return ChatResult(generations=[ChatGeneration(message=message)])

    class Cached(ScriptedChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            details = {"input_token_details": {"cache_read": 5}}
            usage: Any = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10, **details}
            return ChatResult(
                generations=[ChatGeneration(message=AIMessage("x", usage_metadata=usage))]
            )

    body = {"messages": [{"role": "user", "content": "four words are here"}]}
    with OpenAIServer(Silent()) as server:
        answer = post(server, body)[1]
        assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
        assert answer["choices"][0]["finish_reason"] == "length"
    with OpenAIServer(Cached()) as server:
        usage = client(server).invoke("x").usage_metadata
        assert usage is not None
        assert usage["input_token_details"]["cache_read"] == 5
    with OpenAIServer(Silent(), usage=False) as server:
        assert "usage" not in post(server, body)[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_format": {"type": "json_schema"}},
        {"response_format": "json"},
        {"tools": [{}], "tool_choice": "required"},
        {"tools": [{"function": {"name": "f"}}], "tool_choice": {"function": {"name": "g"}}},
    ],
)
def test_a_form_of_answer_that_cannot_be_read_is_said(wrong: dict[str, Any]) -> None:
    with OpenAIServer(ScriptedChatModel()) as server:
        status, answer = post(server, {"messages": [{"role": "user", "content": "x"}], **wrong})
        assert status == 400
        assert "response_format" in answer["error"]["message"]


def test_a_server_that_is_started_again_works_as_before() -> None:
    server = OpenAIServer(ScriptedChatModel(["x"] * 2), latency=0.1)
    for _ in range(2):
        with server:
            start = time.perf_counter()
            post(server, {"messages": [{"role": "user", "content": "x"}]})
            assert time.perf_counter() - start >= 0.1
    assert server.requests == 2
