"""What a server sees of 2,000 waiting tasks at 600 requests a minute, and what waiting costs."""

from __future__ import annotations

import asyncio
import bisect
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from agentrec.testing.openai_server import OpenAIServer

RATE = 600
WAITING = 2000
SECONDS = 100

# A process of its own, so that its CPU is that of waiting and calling and not the server's. The
# connection is made by hand: a full client costs more CPU a call than waiting does.
CALLER = """
import asyncio, json, sys, time
from agentrec.llm.rate_limits import CallLimiter, CallLimits

HOST, PORT, RATE, WAITING, SECONDS = sys.argv[1], *map(int, sys.argv[2:])
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
HEAD = (
    f"POST /v1/chat/completions HTTP/1.0\\r\\nContent-Length: {len(BODY)}\\r\\n\\r\\n"
).encode()

async def call(limiter):
    async with limiter.acquire():
        reader, writer = await asyncio.open_connection(HOST, PORT)
        writer.write(HEAD + BODY)
        await reader.read()
        writer.close()

async def main():
    limiter = CallLimiter(CallLimits(WAITING, RATE))
    tasks = [asyncio.create_task(call(limiter)) for _ in range(WAITING)]
    await asyncio.sleep(1)
    wall, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(SECONDS)
    print(json.dumps((time.process_time() - cpu) / (time.monotonic() - wall)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

asyncio.run(main())
"""


def most_within(arrivals: Sequence[float], seconds: float) -> int:
    """The most arrivals in any window of that length, both ends included."""
    return max(
        bisect.bisect_right(arrivals, first + seconds) - place
        for place, first in enumerate(arrivals)
    )


@pytest.mark.bench
async def test_a_long_line_before_a_server() -> None:
    model = GenericFakeChatModel(messages=iter(lambda: AIMessage("fine"), None))
    with OpenAIServer(model) as server:
        host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        numbers = [str(number) for number in (port, RATE, WAITING, SECONDS)]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", CALLER, host, *numbers],
            check=True,
            capture_output=True,
            text=True,
        )
        arrivals = sorted(server.arrivals)
    cpu = json.loads(done.stdout)
    used = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) * 60 / RATE
    in_minute, in_second = most_within(arrivals, 60), most_within(arrivals, 1)
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    print(
        f"\n{len(arrivals)} arrivals, {WAITING} tasks, {RATE} a minute\n"
        f"most in any 60 s     {in_minute}\n"
        f"share used           {used:.1%}\n"
        f"most in any second   {in_second}\n"
        f"gaps                 {min(gaps) * 1e3:.1f} / {median(gaps) * 1e3:.1f} / "
        f"{max(gaps) * 1e3:.1f} ms (least, median, most)\n"
        f"CPU of the waiting   {cpu:.1%} of a core"
    )
    assert in_minute <= RATE
    assert used >= 0.95
    assert cpu < 0.05
