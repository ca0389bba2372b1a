"""A process that explores until it is killed.

It takes orders on standard input, one a line: a folder and a base URL. Each is done by a fork, so
that what is slow to import or to make is there already. Of the fork it is said ``born PID`` and
``ended``, and after a further line of input ``dead STATUS``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# The helpers of the tests are imported as under pytest.
sys.path.insert(0, str(Path(__file__).parents[1]))

from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from testing.answering import (
    DIMENSION,
    WRONG,
    blocks_of,
    last_item,
    make_catalog,
    make_components,
    make_session,
    ranking_with,
    targets_of,
    task_of,
)

from agentrec.app.learning.exploration import Exploration, explore
from agentrec.components import Components
from agentrec.contracts import HintStore
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.journal import CallJournal
from agentrec.llm.rate_limits import CallLimiter, CallLimits
from agentrec.stores.hints.opening import open_hint_store
from agentrec.testing.scripted_chat_model import ScriptedChatModel

NAME = "m"
SESSIONS = [make_session(number) for number in range(26)]
TARGETS = targets_of(SESSIONS, make_catalog())
VERBS = ("Prefer", "Avoid", "Weigh", "Doubt", "Seek", "Fear", "Trust", "Follow", "Favour")
PROBES = 24


def answer(messages: Sequence[BaseMessage]) -> str:
    """Errors in two of three sessions; hints that help everywhere, nowhere, or all alike."""
    last = last_item(messages)
    number = list(TARGETS).index(last)
    task = task_of(messages)
    if task == "rank":
        hint = blocks_of(messages).get("hint", "")
        place: int | str = 1 if number % 3 == 0 else WRONG
        if hint:
            helps = "sequels" not in hint and (len(hint) + number) % 4 != 0
            own = f"number {number}" in hint or "sequels" in hint
            place = 1 + len(hint) % 3 if helps or (own and number % 3) else place
        return ranking_with(messages, TARGETS[last], place)
    if task == "hints":
        verb = VERBS[number % len(VERBS)]
        return f"1. {verb} sequels.\n2. {verb} films of number {number}.\n3. {verb} slow films."
    return f"A {task} of {last}."


def components_of(gateway: ModelGateway, store: HintStore) -> Components:
    parts = make_components(
        ScriptedChatModel([]), hint_store=store, max_hints=12, effect_correlation=0.95
    )
    return replace(parts, model=gateway)


async def explored(gateway: ModelGateway, store: HintStore) -> Exploration:
    components = components_of(gateway, store)
    graph = build_hint_learning_graph()
    return await explore(SESSIONS, components, graph, 8, lambda: None, SESSIONS, PROBES)


async def explore_in(folder: Path, model: ChatOpenAI) -> None:
    async with (
        await CallJournal.open(folder / "calls.sqlite") as journal,
        await open_hint_store(folder / "hints", DIMENSION) as store,
    ):
        retries = RetryPolicy(max_attempts=1)
        gateway = ModelGateway(
            model,
            NAME,
            journal,
            limiter=CallLimiter(CallLimits(16)),
            retries=retries,
            structured="never",
        )
        await explored(gateway, store)
        await gateway.aclose()


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def main() -> None:
    while order := sys.stdin.readline():
        folder, base_url = order.split()
        model = ChatOpenAI(model=NAME, base_url=base_url, api_key="unused", max_retries=0)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(explore_in(Path(folder), model))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        say(f"born {child}")
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say("ended")
        sys.stdin.readline()
        say(f"dead {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


if __name__ == "__main__":
    main()
