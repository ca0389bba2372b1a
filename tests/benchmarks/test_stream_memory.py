"""Whether memory and speed stay as they are over very many streamed sessions.

``AGENTREC_BENCH_SESSIONS`` says how many; a million takes hours.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from benchmarks.recommending_parts import InstantModel, load, parts, sessions

from agentrec.graphs.batching import recommend_many
from agentrec.llm.gateway import ModelGateway
from agentrec.llm.journal import CallJournal

SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "50000"))
TOLD = max(1000, SESSIONS // 10)
AT_HAND = 2**20
"""Bytes of answers that the journal keeps at hand: full long before memory is first looked at."""


@pytest.mark.bench
async def test_memory_over_many_sessions(tmp_path: Path) -> None:
    process = psutil.Process()
    print(f"\n{SESSIONS} sessions through the whole graph, journal file; {load()}")
    resident: list[float] = []
    speeds: list[float] = []
    async with await CallJournal.open(tmp_path / "calls.sqlite", memory=AT_HAND) as journal:
        components = await parts(ModelGateway(InstantModel(), "instant", journal))
        begun, done = time.perf_counter(), 0
        async for result in recommend_many(sessions(SESSIONS), components):
            assert result.failure is None
            done += 1
            if done % TOLD == 0:
                now = time.perf_counter()
                resident.append(process.memory_info().rss / 2**20)
                speeds.append(TOLD / (now - begun))
                print(
                    f"{done:9} sessions: {resident[-1]:6.1f} MiB resident, "
                    f"{speeds[-1]:5.0f} sessions/s, {load()}"
                )
                begun = time.perf_counter()
    grown = resident[-1] - resident[0]
    print(
        f"grown by {grown:.1f} MiB after the first {TOLD}; speed of the last {TOLD} "
        f"{speeds[-1] / speeds[0]:.2f} x that of the first"
    )
    # Anything that is kept of a session weighs more than a kilobyte.
    assert grown * 2**20 < 1000 * (SESSIONS - TOLD) or grown < 30
