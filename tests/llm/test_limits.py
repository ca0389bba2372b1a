"""Limits on concurrency and rates, through the limiter and the gateway."""

import asyncio
import math
import time
from collections import Counter

import pytest
from blockbuster import blockbuster_ctx
from langchain_openai import ChatOpenAI
from llm.conversations import asking, echo

from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.rate_limits import CallLimiter, CallLimits, Permit
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel


async def hold(limiter: CallLimiter, running: Counter[str], seconds: float = 0.005) -> Permit:
    async with limiter.acquire() as permit:
        running["now"] += 1
        running["most"] = max(running["most"], running["now"])
        await asyncio.sleep(seconds)
        running["now"] -= 1
        return permit


async def test_concurrency_is_bounded_and_used() -> None:
    limiter = CallLimiter(CallLimits(max_concurrency=7))
    running: Counter[str] = Counter()
    with blockbuster_ctx():
        await asyncio.gather(*(hold(limiter, running) for _ in range(50)))
    assert (running["most"], running["now"]) == (7, 0)


async def test_a_slot_is_released_whatever_happens_in_it() -> None:
    limiter = CallLimiter(CallLimits(max_concurrency=1))
    with pytest.raises(RuntimeError, match="x"):
        async with limiter.acquire():
            raise RuntimeError("x")
    waiting = [asyncio.create_task(hold(limiter, Counter(), 10)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.wait_for(hold(limiter, Counter()), 5)


async def test_gateways_that_share_a_limiter_share_its_limits() -> None:
    limiter = CallLimiter(CallLimits(max_concurrency=3, requests_per_minute=60 * 200))
    model = ScriptedChatModel([echo] * 40, latency=0.05)
    gateways = [ModelGateway(model, name, limiter=limiter) for name in ("a", "b")]
    begun = time.monotonic()
    await asyncio.gather(
        *(gateway.ask("n", asking(str(n))) for n in range(20) for gateway in gateways)
    )
    assert model.most_at_once == 3
    # 40 calls of 0.05 s, three at a time.
    assert time.monotonic() - begun > 0.6


async def test_a_pause_holds_everybody_back_as_long_as_allowed() -> None:
    limiter = CallLimiter(CallLimits(longest_pause=0.05))
    begun = time.monotonic()
    limiter.pause(10_000)
    starts = await asyncio.gather(*(hold(limiter, Counter()) for _ in range(30)))
    assert min(start.at for start in starts) - begun >= 0.05
    await asyncio.wait_for(hold(limiter, Counter()), 5)


async def test_tokens_hold_the_next_call_back_until_they_are_corrected() -> None:
    limiter = CallLimiter(CallLimits(tokens_per_minute=1000))
    async with limiter.acquire(900) as permit:
        pass
    waiting = asyncio.create_task(hold_tokens(limiter, 900))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    limiter.correct(permit, 1)
    # It looks again by itself, four times a second.
    await asyncio.wait_for(waiting, 5)


async def hold_tokens(limiter: CallLimiter, tokens: int) -> None:
    async with limiter.acquire(tokens):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_concurrency": 0},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -5},
        {"requests_per_minute": math.nan},
        {"longest_pause": -1},
        {"longest_pause": math.nan},
    ],
)
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CallLimits(**wrong)  # type: ignore[arg-type]


async def test_a_server_sees_calls_in_order_and_within_the_rate() -> None:
    per_minute, number = 6000, 150
    with OpenAIServer(ScriptedChatModel([echo] * number)) as server:
        model = ChatOpenAI(model="m", base_url=server.base_url, api_key="unused", max_retries=0)
        gateway = ModelGateway(model, "m", limiter=CallLimiter(CallLimits(8, per_minute)))
        asked = [str(n) for n in range(number)]
        await asyncio.gather(*(gateway.ask("n", asking(text)) for text in asked))
        arrived = [messages[-1].text for messages in server.asked]
        arrivals = server.arrivals
    assert sorted(arrived, key=int) == asked
    # Eight are on their way at the same time, and now and then one of them is held up.
    assert sum(abs(int(text) - index) for index, text in enumerate(arrived)) < 8 * number
    # However busy the machine, this many cannot have been let through faster.
    assert arrivals[-1] - arrivals[0] > 0.7 * (number - 1) * 60 / per_minute
