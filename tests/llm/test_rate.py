"""The gateway's limit on requests a minute."""

import asyncio
import math
import time
from collections.abc import Sequence

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.testing.scripted_chat_model import ScriptedChatModel


class Clock:
    """A scripted reply that notes when its call started, and for what."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.texts: list[str] = []

    def __call__(self, messages: Sequence[BaseMessage]) -> str:
        self.starts.append(time.monotonic())
        self.texts.append(messages[-1].text)
        return "answer"


def ask_all(gateway: ModelGateway, number: int) -> "asyncio.Future[list[str]]":
    return asyncio.gather(*(gateway.ask("rank", [HumanMessage(str(n))]) for n in range(number)))


async def test_starts_are_an_interval_apart_and_come_in_turn() -> None:
    clock = Clock()
    model = ScriptedChatModel([clock] * 30, latency=0.2)
    await ask_all(ModelGateway(model, "m", requests_per_minute=600), 30)
    # However busy this process is: none starts before its time, counted from the first one, whose
    # own note may be late.
    assert all(start - clock.starts[0] > 0.1 * n - 0.5 for n, start in enumerate(clock.starts))
    assert clock.texts == [str(n) for n in range(30)]
    assert model.most_at_once >= 2


async def test_a_high_rate_is_not_held_far_below_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    gateway = ModelGateway(
        ScriptedChatModel(["answer"] * 1000), "m", requests_per_minute=60 * 1000, max_concurrency=4
    )
    await ask_all(gateway, 1000)
    # 999 gaps of about 1 ms are the most that is waited for; looking again every 10 ms only, and
    # making up for nothing, would be ten times that. What is counted is the waiting that was
    # meant, not how long it took.
    assert sum(slept) < 2


async def test_what_is_cached_waits_for_no_turn() -> None:
    gateway = ModelGateway(ScriptedChatModel([Clock()]), "m", requests_per_minute=1)
    await ask_all(gateway, 1)
    await asyncio.wait_for(ask_all(gateway, 1), 30)


async def test_whoever_leaves_the_queue_costs_no_turn() -> None:
    clock = Clock()
    gateway = ModelGateway(ScriptedChatModel([clock] * 2), "m", requests_per_minute=60)
    leaving = ask_all(gateway, 20)
    await asyncio.sleep(0.05)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.wait_for(gateway.ask("rank", [HumanMessage("last")]), 10)
    assert clock.texts == ["0", "last"]
    assert clock.starts[1] - clock.starts[0] > 0.5


@pytest.mark.parametrize("rate", [0, -1, -0.5, math.nan, math.inf])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="requests_per_minute"):
        ModelGateway(ScriptedChatModel(), "m", requests_per_minute=rate)
