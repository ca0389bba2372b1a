"""Kill -9 under load: nothing that was seen is lost, nothing that was paid for is paid again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from llm.conversations import echo

from agentrec.llm.gateway.requests import call_key
from agentrec.llm.journal import CallJournal
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

ROUNDS = 16
NEW_EACH_ROUND = 40
ASKED_AGAIN = 5 * NEW_EACH_ROUND


class Mortal:
    """Lets a process ask, and kills it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(
        self, path: Path, base_url: str, texts: range, seed: int, kill_after: float | None
    ) -> tuple[set[str], int]:
        """What it said it had seen, and how it ended.

        Some orders are killed so long after the fork, others so long after the first answer.
        """
        self._order(f"{path} {base_url} {texts.start} {texts.stop} {seed}")
        seen: set[str] = set()
        born = 0
        for word, rest in self._lines():
            if word == "born":
                born = int(rest)
            elif word == "ended":
                self._order("bury it")
            elif word == "dead":
                return seen, int(rest)
            else:
                assert word == "seen", rest
                seen.add(rest)
            if kill_after is not None and word != "ended" and born and (seen or seed % 2):
                time.sleep(kill_after)
                os.kill(born, signal.SIGKILL)
                kill_after = None
        raise AssertionError("the process ended")

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _lines(self) -> Iterator[tuple[str, str]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, rest = line.strip().partition(" ")
            yield word, rest


@contextmanager
def mortal_process() -> Iterator[Mortal]:
    script = Path(__file__).with_name("mortal_caller.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Mortal(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    with mortal_process() as started:
        yield started


def kept(path: Path, texts: int) -> dict[str, str]:
    """What the journal holds, by text; opening it right after a kill has to work."""

    async def read() -> dict[str, str]:
        async with await CallJournal.open(path) as journal:
            keys = {str(n): call_key("m", [HumanMessage(str(n))]) for n in range(texts)}
            answers = await asyncio.gather(*(journal.get(key) for key in keys.values()))
            found = {t: a.text for t, a in zip(keys, answers, strict=True) if a is not None}
            assert len(found) == len(journal)
            return found

    return asyncio.run(read())


def settled(server: OpenAIServer) -> Counter[str]:
    """How often each text was asked for, once nothing is on its way any more."""
    before = -1
    while before != server.requests:
        before = server.requests
        time.sleep(0.03)
    return Counter(messages[-1].text for messages in server.asked)


def test_kills_lose_nothing_seen_and_nothing_is_paid_twice(tmp_path: Path, mortal: Mortal) -> None:
    path = tmp_path / "calls.sqlite"
    draws = random.Random(5)
    paid: dict[str, int] = {}
    model = ScriptedChatModel([echo] * 100 * ROUNDS * NEW_EACH_ROUND)
    with OpenAIServer(model, latency=0.02) as server:
        killed = 0
        for number in range(ROUNDS):
            texts = NEW_EACH_ROUND * (number + 1)
            after = draws.uniform(0, 0.25)
            # The latest of the old ones only: all of them are asked for once more at the end.
            some = range(max(0, texts - NEW_EACH_ROUND - ASKED_AGAIN), texts)
            seen, status = mortal.ask(path, server.base_url, some, number, after)
            asked = settled(server)
            answers = kept(path, texts)
            # It may have been done before it was hit.
            assert status in (-signal.SIGKILL, 0)
            killed += status != 0
            assert seen <= answers.keys()
            assert all(answer == f"re: {text}" for text, answer in answers.items())
            again = {text: asked[text] for text in paid if asked[text] != paid[text]}
            assert not again, f"paid for and asked for again in round {number}"
            paid |= {text: asked[text] for text in answers}
        texts = NEW_EACH_ROUND * ROUNDS
        seen, status = mortal.ask(path, server.base_url, range(texts), 0, None)
        assert (len(seen), status) == (texts, 0)
        asked = settled(server)
        assert all(asked[text] == number for text, number in paid.items())
    # Otherwise nothing was tested: kills hit while answers were on their way.
    assert killed > ROUNDS / 2
    assert sum(asked.values()) > len(asked)


def test_two_processes_share_a_journal(tmp_path: Path, mortal: Mortal) -> None:
    path = tmp_path / "calls.sqlite"
    texts = 300
    model = ScriptedChatModel([echo] * 2 * texts)
    with (
        OpenAIServer(model) as server,
        mortal_process() as other,
        ThreadPoolExecutor(2) as threads,
    ):
        both = [
            threads.submit(each.ask, path, server.base_url, range(texts), seed, None)
            for seed, each in enumerate((mortal, other))
        ]
        for each in both:
            seen, status = each.result(60)
            assert (len(seen), status) == (texts, 0)
    assert kept(path, texts) == {str(n): f"re: {n}" for n in range(texts)}
