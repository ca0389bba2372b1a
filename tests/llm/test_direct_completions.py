from __future__ import annotations

import copy
import json
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel

from agentrec.errors import ModelCallError
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.providers.chat_models import drop_connections, open_chat_model
from agentrec.testing.chat_completions import ChatRequest
from agentrec.testing.openai_server import OpenAIServer, Reply
from agentrec.testing.scripted_chat_model import ScriptedChatModel

TALK = [
    SystemMessage("You recommend <films>."),
    HumanMessage([{"type": "text", "text": "Heat, Ronin é 漢"}]),
    AIMessage("", tool_calls=[{"name": "look", "args": {"film": "Heat"}, "id": "call-1"}]),
    ToolMessage("1995", tool_call_id="call-1"),
    HumanMessage("What next?"),
]
SCHEMA = {
    "title": "films",
    "type": "object",
    "properties": {"film": {"type": "string"}},
    "required": ["film"],
}


class Fixed(OpenAIServer):
    """Answers all with the same."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(ScriptedChatModel([]))
        self.fixed = reply

    def reply(self, request: ChatRequest) -> Reply:
        return self.fixed


def answer(**changed: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Heat", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "total_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
    } | changed


def said(**message: Any) -> dict[str, Any]:
    reason = message.pop("finish_reason", "stop")
    return answer(
        choices=[{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}]
    )


CALLED = {"id": "call-2", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
ANSWERS: dict[str, dict[str, Any]] = {
    "text": answer(),
    "no usage": answer(usage=None),
    "refused": said(content=None, refusal="I would rather not"),
    "nothing said": said(content=None),
    "tool": said(content=None, tool_calls=[CALLED], finish_reason="tool_calls"),
    "broken tool": said(
        content=None, tool_calls=[CALLED | {"function": {"name": "f", "arguments": "{"}}]
    ),
    "cut off": said(content="He", finish_reason="length"),
    "another field": answer(provider="somebody", system_fingerprint="fp"),
}
BROKEN: dict[str, Any] = {
    "no choices": answer(choices=None),
    "choices missing": {"id": "x"},
    "an error in it": {"error": {"message": "overloaded"}},
    "a list": [1],
    "a number": 1,
}


def opened(server: OpenAIServer, **parameters: Any) -> ChatOpenAI:
    model = open_chat_model(
        "openai:m", {"api_key": "none", "base_url": server.base_url, **parameters}
    )
    assert isinstance(model, ChatOpenAI)
    assert not isinstance(model.root_async_client, AsyncOpenAI)
    return model


def usual(server: OpenAIServer, **parameters: Any) -> ChatOpenAI:
    fields: dict[str, Any] = {"api_key": "none", "base_url": server.base_url, **parameters}
    return ChatOpenAI(model="m", temperature=0, max_retries=0, **fields)


async def outcome(model: ChatOpenAI, *asked: Any, **given: Any) -> object:
    """All that a caller sees of a call."""
    try:
        message = await model.ainvoke(list(asked or TALK), **given)
    except Exception as error:
        return type(error), str(error)
    finally:
        await drop_connections(model)
    return told(message.model_dump(exclude={"id"}))


def told(seen: Any) -> Any:
    """Without what is nothing: objects hold fields for what an endpoint did not say."""
    if isinstance(seen, dict):
        return {each: told(value) for each, value in seen.items() if value not in (None, "")}
    return [told(each) for each in seen] if isinstance(seen, list) else seen


async def test_the_endpoint_is_sent_the_same() -> None:
    given = {"max_tokens": 5, "seed": 3, "stop": ["."], "extra_body": {"top_k": 2, "seed": 4}}
    with Fixed(Reply(HTTPStatus.OK, json.dumps(answer()).encode())) as server:
        for model in (usual(server), opened(server)):
            await outcome(model, **given)
            await outcome(model, "bare text")
        plain, bare, direct_plain, direct_bare = server.bodies
    assert (direct_plain, direct_bare) == (plain, bare)
    assert plain["messages"][2]["tool_calls"]
    assert plain["seed"] == 4


async def test_it_is_sent_to_the_same_place_with_the_same_headers() -> None:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(HTTPStatus.OK, json=said(content='{"film": "Heat"}'))

    fields: dict[str, Any] = {
        "api_key": "sk-own",
        "organization": "org-1",
        "base_url": "http://models.example/v7/",
        "default_headers": {"X-One": "1"},
        "default_query": {"api-version": "2"},
        "timeout": 7,
    }
    for open_model in (
        lambda **given: ChatOpenAI(model="m", temperature=0, max_retries=0, **given),
        lambda **given: open_chat_model("openai:m", given),
    ):
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
        model = open_model(http_async_client=client, **fields)
        await model.ainvoke(TALK)
        await model.with_structured_output(SCHEMA).ainvoke(TALK)
    # How its own objects are made is told in the package's headers, and here they are not.
    headers = [
        {
            name: value
            for name, value in request.headers.items()
            if name not in ("x-stainless-raw-response", "x-stainless-helper-method")
        }
        for request in seen
    ]
    assert headers[2:] == headers[:2]
    assert headers[0]["authorization"] == "Bearer sk-own"
    assert (headers[0]["openai-organization"], headers[0]["x-one"]) == ("org-1", "1")
    assert [request.url for request in seen[2:]] == [request.url for request in seen[:2]]
    assert str(seen[0].url) == "http://models.example/v7/chat/completions?api-version=2"


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_is_read_as_it_would_be(name: str) -> None:
    with Fixed(Reply(HTTPStatus.OK, json.dumps(ANSWERS[name]).encode())) as server:
        direct = await outcome(opened(server))
        assert direct == await outcome(usual(server))
    assert isinstance(direct, dict)
    assert ("refusal" in direct["additional_kwargs"]) == (name == "refused")


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_answer_is_an_error_of_the_same_kind(name: str) -> None:
    with Fixed(Reply(HTTPStatus.OK, json.dumps(BROKEN[name]).encode())) as server:
        kinds = []
        for model in (opened(server), usual(server)):
            with pytest.raises(ModelCallError) as caught:
                await ModelGateway(model, "m", retries=RetryPolicy(max_attempts=1)).ask("n", TALK)
            kinds.append(caught.value.kind)
            await drop_connections(model)
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_errors_are_those_of_the_package(status: int) -> None:
    body = json.dumps({"error": {"message": "not now", "code": "context_length_exceeded"}})
    with Fixed(Reply(HTTPStatus(status), body.encode(), {"Retry-After": "1"})) as server:
        direct = await outcome(opened(server))
        assert direct == await outcome(usual(server))
    assert isinstance(direct, tuple)
    assert "not now" in direct[1]


async def test_what_is_no_json_is_an_error_that_shows_it() -> None:
    with Fixed(Reply(HTTPStatus.OK, b"<html>busy</html>")) as server:
        direct = await outcome(opened(server))
    assert isinstance(direct, tuple)
    assert direct[0] is ValueError
    assert "busy" in direct[1]


async def test_headers_and_time_limits_of_a_call_are_kept() -> None:
    with Fixed(Reply(HTTPStatus.OK, json.dumps(answer()).encode())) as server:
        direct = await outcome(opened(server), extra_headers={"X-One": "1"}, timeout=5)
        assert direct == await outcome(usual(server), extra_headers={"X-One": "1"}, timeout=5)
    with OpenAIServer(ScriptedChatModel(["late"]), latency=5) as server:
        kind, _ = await outcome(opened(server), timeout=0.1)  # type: ignore[misc]
    assert "Timeout" in kind.__name__


async def formed(model: ChatOpenAI) -> object:
    """All that a caller sees of a call whose answer is to fit."""
    asking = model.with_structured_output(SCHEMA, include_raw=True)
    try:
        replied: Any = await asking.ainvoke(TALK[-1:])
    except Exception as error:
        return type(error), str(error)
    finally:
        await drop_connections(model)
    return told(replied["raw"].model_dump(exclude={"id"})), replied["parsed"]


FORMED = {
    "fits": said(content='{"film": "Heat"}'),
    "does not fit": said(content='{"film"'),
    "refused": ANSWERS["refused"],
    "cut off": said(content='{"fil', finish_reason="length"),
    "filtered": said(content="", finish_reason="content_filter"),
}


@pytest.mark.parametrize("name", FORMED)
async def test_an_answer_to_a_schema_is_read_as_it_would_be(name: str) -> None:
    with Fixed(Reply(HTTPStatus.OK, json.dumps(FORMED[name]).encode())) as server:
        direct = await formed(opened(server))
        assert direct == await formed(usual(server))
        assert server.bodies[0] == server.bodies[1]
        assert "json_schema" in server.bodies[0]["response_format"]
    assert isinstance(direct, tuple)
    failed = isinstance(direct[0], type)
    assert failed == (name in {"cut off", "filtered"})


async def test_classes_and_tools_are_still_parsed_by_the_package() -> None:
    class Film(BaseModel):
        film: str

    with OpenAIServer(
        ScriptedChatModel([]), write_json=lambda messages, schema: '{"film": "Heat"}'
    ) as server:
        model = opened(server)
        for method in ("json_schema", "function_calling"):
            structured = model.with_structured_output(Film, method=method)
            assert await structured.ainvoke("Which?") == Film(film="Heat")
        await drop_connections(model)


async def test_what_is_streamed_goes_as_it_did() -> None:
    chunks = [
        answer(
            object="chat.completion.chunk",
            choices=[{"index": 0, "delta": {"role": "assistant", "content": text}}],
        )
        for text in ("He", "at")
    ]
    sent = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"
    asked: list[Any] = []

    def stream(request: httpx2.Request) -> httpx2.Response:
        asked.append(json.loads(request.content))
        return httpx2.Response(200, text=sent, headers={"Content-Type": "text/event-stream"})

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(stream))
    for headers in (False, True):
        given = {"http_async_client": client, "include_response_headers": headers}
        model = open_chat_model("openai:m", {"api_key": "none", **given})
        assert [piece.text async for piece in model.astream("Which?")][:2] == ["He", "at"]
    assert [each["stream"] for each in asked] == [True, True]


def test_a_model_can_be_copied() -> None:
    model = open_chat_model("openai:m", {"api_key": "none"})
    assert isinstance(model, ChatOpenAI)
    copied = copy.copy(model.root_async_client)
    assert copied.chat.completions.with_raw_response is not None
    assert copied.base_url == model.root_async_client.base_url
