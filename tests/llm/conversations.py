"""Questions and scripted replies that tests of the gateway share."""

import asyncio
from collections.abc import Callable, Sequence

from langchain_core.messages import BaseMessage, HumanMessage


def asking(text: str) -> list[BaseMessage]:
    return [HumanMessage(text)]


def echo(messages: Sequence[BaseMessage]) -> str:
    return "re: " + messages[-1].text


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)
