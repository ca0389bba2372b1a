"""A process that asks through a gateway until it is killed, and says what it has seen.

It takes orders on standard input, one a line: journal, base URL, the first text and how many
there are, a seed. Each is done by a fork, so that what is slow to import or to make is there
already. A fork asks for every text from the first to the last in a drawn order, sixteen at a time,
and prints ``seen N`` once it holds the answer to text N. Of the fork itself it is said ``born PID``
and ``ended``, and after a further line of input ``dead STATUS``: until then its number is nobody
else's, and whoever kills it late kills no stranger.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.rate_limits import CallLimiter, CallLimits

NAME = "m"


def say(line: str) -> None:
    # In one piece and at once: what stays in a buffer was not seen by anybody.
    os.write(1, f"{line}\n".encode())


async def ask_all(path: Path, model: ChatOpenAI, texts: range, seed: int) -> None:
    async with await CallJournal.open(path) as journal:
        gateway = ModelGateway(model, NAME, journal, limiter=CallLimiter(CallLimits(16)))

        async def ask(text: str) -> None:
            answer = await gateway.ask("rank", [HumanMessage(text)])
            say(f"seen {text}" if answer == f"re: {text}" else f"wrong {text} {answer!r}")

        order = [str(n) for n in texts]
        random.Random(seed).shuffle(order)
        await asyncio.gather(*(ask(text) for text in order))


def main() -> None:
    while order := sys.stdin.readline():
        path, base_url, first, texts, seed = order.split()
        model = ChatOpenAI(model=NAME, base_url=base_url, api_key="unused", max_retries=0)
        child = os.fork()
        if child == 0:
            numbers = range(int(first), int(texts))
            asyncio.run(ask_all(Path(path), model, numbers, int(seed)))
            os._exit(0)
        say(f"born {child}")
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say("ended")
        sys.stdin.readline()
        say(f"dead {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


if __name__ == "__main__":
    main()
