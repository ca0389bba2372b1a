from __future__ import annotations

import asyncio

import httpx2
import pytest
from langchain_openai import ChatOpenAI

from agentrec.llm.chat_models import close_client, open_chat_model
from agentrec.llm.spread_connections import (
    POOLS,
    SpreadTransport,
    spread_client,
)
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Slow(httpx2.AsyncBaseTransport):
    def __init__(self) -> None:
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        self.was_asked.set()
        await self.may_answer.wait()
        if "bad" in str(request.url):
            raise httpx2.ConnectError("no way")
        return httpx2.Response(200, text="here")

    async def aclose(self) -> None:
        self.closed = True


async def test_requests_go_where_the_fewest_are_active() -> None:
    pools = [Slow() for _ in range(3)]
    async with httpx2.AsyncClient(transport=SpreadTransport(iter(pools).__next__, 3)) as client:
        asked = [asyncio.create_task(client.get("http://there/")) for _ in range(7)]
        for pool in pools:
            await pool.was_asked.wait()
            pool.may_answer.set()
        assert {answer.text for answer in await asyncio.gather(*asked)} == {"here"}
    assert sorted(pool.asked for pool in pools) == [2, 2, 3]
    assert all(pool.closed for pool in pools)


async def test_failed_and_cancelled_requests_are_no_longer_active() -> None:
    first, second = pools = [Slow(), Slow()]
    async with httpx2.AsyncClient(transport=SpreadTransport(iter(pools).__next__, 2)) as client:
        given_up = asyncio.create_task(client.get("http://there/"))
        await first.was_asked.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        first.may_answer.set()
        for n in range(2, 4):
            with pytest.raises(httpx2.ConnectError):
                await client.get("http://there/bad")
            assert first.asked == n
        assert not second.asked


async def test_an_opened_model_spreads_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with OpenAIServer(ScriptedChatModel(["here"] * 2 * POOLS)) as server:
        model = open_chat_model("openai:local", {"base_url": server.base_url})
        assert isinstance(model, ChatOpenAI)
        asked = [model.ainvoke(f"question {n}") for n in range(2 * POOLS)]
        assert {answer.text for answer in await asyncio.gather(*asked)} == {"here"}
        await close_client(model)


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_of_the_environment_needs_the_default(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made: list[SpreadTransport] = []
    monkeypatch.setattr(
        "agentrec.llm.spread_connections.SpreadTransport",
        lambda make: made.append(transport := SpreadTransport(make)) or transport,
    )
    spread_client()
    assert len(made) == 1
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    spread_client()
    assert len(made) == 1


async def test_a_client_of_the_callers_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with httpx2.AsyncClient() as own:
        model = open_chat_model("openai:m", {"http_async_client": own})
        assert isinstance(model, ChatOpenAI)
        assert model.http_async_client is own
        await close_client(model)
        assert not own.is_closed
