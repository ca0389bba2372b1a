import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

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
    ("body", "path", "status", "told"),
    [
        (b"{", "/chat/completions", 400, "Expecting"),
        ([], "/chat/completions", 400, "JSON object"),
        ({"messages": []}, "/chat/completions", 400, "at least one"),
        ({"messages": [{"role": "nobody"}]}, "/chat/completions", 400, "cannot be read"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": True}, *[""] * 3),
        ({}, "/embeddings", 404, "/v1/chat/completions"),
    ],
)
def test_what_is_not_understood_is_said(body: object, path: str, status: int, told: str) -> None:
    with OpenAIServer(ScriptedChatModel()) as server:
        got, answer = post(server, body, path or "/chat/completions")
        assert got == (status or 400)
        assert (told or "streaming") in answer["error"]["message"]
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


def test_many_at_once_wait_side_by_side() -> None:
    with (
        OpenAIServer(ScriptedChatModel(["x"] * 64), latency=0.1) as server,
        ThreadPoolExecutor(64) as pool,
    ):
        body = {"messages": [{"role": "user", "content": "x"}]}
        start = time.perf_counter()
        statuses = {status for status, _ in pool.map(lambda _: post(server, body), range(64))}
        assert 0.1 <= time.perf_counter() - start < 2
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
