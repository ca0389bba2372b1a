from __future__ import annotations

import asyncio
import gc
import warnings

import httpx2
import pytest
from benchmarks.paced_endpoint import RANKING, PacedEndpoint
from langchain_openai import ChatOpenAI

from agentrec.llm.providers.chat_models import drop_connections, open_chat_model
from agentrec.llm.providers.spread_connections import (
    POOLS,
    SpreadClient,
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


async def test_requests_go_where_the_fewest_are_under_way() -> None:
    pools = [Slow() for _ in range(3)]
    async with httpx2.AsyncClient(transport=SpreadTransport(iter(pools).__next__, 3)) as client:
        asked = [asyncio.create_task(client.get("http://there/")) for _ in range(7)]
        for pool in pools:
            await pool.was_asked.wait()
            pool.may_answer.set()
        assert {answer.text for answer in await asyncio.gather(*asked)} == {"here"}
    assert sorted(pool.asked for pool in pools) == [2, 2, 3]
    assert all(pool.closed for pool in pools)


async def test_what_fails_or_is_cancelled_is_under_way_no_more() -> None:
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
        assert isinstance(model.http_async_client, SpreadClient)
        asked = [model.ainvoke(f"question {n}") for n in range(2 * POOLS)]
        assert {answer.text for answer in await asyncio.gather(*asked)} == {"here"}
        await drop_connections(model)


@pytest.mark.parametrize("dropped", [True, False])
def test_a_model_is_used_in_one_event_loop_after_another(*, dropped: bool) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        use_twice(dropped=dropped)
        gc.collect()
    unclosed = [each for each in seen if issubclass(each.category, ResourceWarning)]
    assert bool(unclosed) != dropped


def use_twice(*, dropped: bool) -> None:
    with PacedEndpoint() as endpoint:
        model = open_chat_model("openai:local", {"api_key": "none", "base_url": endpoint.base_url})

        async def ask_twice() -> None:
            for _ in range(2):
                assert (await model.ainvoke("question")).text == RANKING
                if dropped:
                    await drop_connections(model)

        for _ in range(2):
            asyncio.run(ask_twice())


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_of_the_environment_needs_the_default(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert spread_client() is not None
    monkeypatch.setenv("no_proxy", "localhost")
    assert spread_client() is not None
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert spread_client() is None


async def test_a_client_of_the_callers_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    async with httpx2.AsyncClient() as own:
        model = open_chat_model("openai:m", {"http_async_client": own})
        assert isinstance(model, ChatOpenAI)
        assert model.http_async_client is own
        await drop_connections(model)
        assert not own.is_closed
    proxied = open_chat_model("openai:m", {"openai_proxy": "http://127.0.0.1:9"})
    assert isinstance(proxied, ChatOpenAI)
    assert not isinstance(proxied.http_async_client, SpreadClient)
