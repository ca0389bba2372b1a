"""Kill -9 while hints are looked for: the same knowledge base, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from app.mortal_explorer import DIMENSION, NAME, answer, explored

from agentrec.hints import STATES, Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.requests import call_key
from agentrec.llm.journal import CallJournal
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.stores.hints.opening import open_hint_store
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

KILLS = 30


def as_records(hints: Sequence[Hint]) -> list[dict[str, object]]:
    return [hint.model_dump(exclude={"embedding"}) for hint in hints]


async def uninterrupted() -> tuple[list[dict[str, object]], int]:
    store = InMemoryHintStore(DIMENSION)
    model = ScriptedChatModel([answer] * 20_000)
    await explored(ModelGateway(model, NAME), store)
    return as_records(await store.all(STATES)), len(model.calls)


class Explorer:
    """Lets forks of one process explore, and kills them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, base_url: str, kill_after: float | None) -> int:
        """The exit status; -9 if it was killed in time."""
        self._order(f"{folder} {base_url}")
        child = int(self._line("born"))
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        self._line("ended")
        self._order("bury it")
        return int(self._line("dead"))

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _line(self, wanted: str) -> str:
        assert self._process.stdout is not None
        word, _, rest = self._process.stdout.readline().strip().partition(" ")
        assert word == wanted, (word, rest)
        return rest


def asked_for(server: OpenAIServer) -> Counter[str]:
    """How often each conversation was asked for, once nothing is on its way any more."""
    before = -1
    while before != server.requests:
        before = server.requests
        time.sleep(0.05)
    return Counter(call_key(NAME, messages) for messages in server.asked)


async def kept(folder: Path, keys: Sequence[str]) -> set[str]:
    async with await CallJournal.open(folder / "calls.sqlite") as journal:
        answers = await asyncio.gather(*(journal.get(key) for key in keys))
        return {key for key, found in zip(keys, answers, strict=True) if found is not None}


async def knowledge(folder: Path) -> list[dict[str, object]]:
    async with await open_hint_store(folder / "hints", DIMENSION) as store:
        return as_records(await store.all(STATES))


def test_whenever_it_is_killed_it_comes_to_the_same(tmp_path: Path) -> None:
    expected, calls = asyncio.run(uninterrupted())
    states = Counter(hint["state"] for hint in expected)
    assert set(states) == set(STATES), states
    draws = random.Random(7)
    script = Path(__file__).with_name("mortal_explorer.py")

    kills, number = 0, 0
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        explorer = Explorer(process)
        while kills < KILLS:
            number += 1
            folder = tmp_path / str(number)
            folder.mkdir()
            model = ScriptedChatModel([answer] * 20 * calls)
            with OpenAIServer(model, latency=0.004) as server:
                paid: dict[str, int] = {}
                status = -signal.SIGKILL
                while status != 0:
                    after = draws.uniform(0.02, 0.5) if kills < KILLS else None
                    status = explorer.run(folder, server.base_url, after)
                    assert status in (0, -signal.SIGKILL)
                    kills += status != 0
                    asked = asked_for(server)
                    again = {key for key, times in paid.items() if asked[key] != times}
                    assert not again, "paid for and asked for again"
                    paid |= {key: asked[key] for key in asyncio.run(kept(folder, [*asked]))}
                assert asyncio.run(knowledge(folder)) == expected
                assert len(paid) == len(asked)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
    assert kills >= KILLS
