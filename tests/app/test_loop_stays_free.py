"""Exploring with everything that a real run has, watched for what holds up the event loop."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from app.mortal_explorer import DIMENSION, NAME, answer, explored

from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.journal import CallJournal
from agentrec.llm.rate_limits import CallLimiter, CallLimits
from agentrec.stores.hints.opening import open_hint_store
from agentrec.testing.loop_watch import LoopWatch
from agentrec.testing.scripted_chat_model import ScriptedChatModel


class UnevenModel(ScriptedChatModel):
    """Answers come one by one, as over a network, and not all in one round of the loop."""

    async def _agenerate(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
        await asyncio.sleep(random.Random(len(self.calls)).uniform(0.01, 0.1))
        return await super()._agenerate(*args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def _without_collecting() -> Iterator[None]:
    """What other tests left behind takes the garbage collector long to look through."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_without_collecting")
async def test_exploring_never_blocks_the_loop(tmp_path: Path) -> None:
    model = UnevenModel([answer] * 20_000)
    async with (
        await CallJournal.open(tmp_path / "calls.sqlite") as journal,
        await open_hint_store(tmp_path / "hints", DIMENSION) as store,
    ):
        gateway = ModelGateway(model, NAME, journal, limiter=CallLimiter(CallLimits(16)))
        async with LoopWatch(0.05) as watch:
            done = await explored(gateway, store)
        await gateway.aclose()
    assert done.hints
    assert not watch.blocked, "\n".join(map(str, watch.blocked))
