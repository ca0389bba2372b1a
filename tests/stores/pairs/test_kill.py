import asyncio
import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrec.stores.pairs.sinks import JsonlPreferenceSink, iterate_sink
from agentrec.testing.preference_sink_conformance import numbered_pair

COLLECTOR = """
import asyncio, sys
from pathlib import Path
from agentrec.stores.pairs.sinks import JsonlPreferenceSink
from agentrec.testing.preference_sink_conformance import numbered_pair

async def main():
    async with await JsonlPreferenceSink.open(Path(sys.argv[1])) as sink:
        for number in range(0, int(sys.argv[2]), 2):
            await sink.append([numbered_pair(number), numbered_pair(number + 1)])
            print(number, flush=True)

asyncio.run(main())
"""

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from agentrec.stores.pairs.sinks import JsonlPreferenceSink
from agentrec.testing.preference_sink_conformance import numbered_pair

class Dying:
    def __init__(self, stream):
        self.stream, self.room = stream, int(sys.argv[2])

    def write(self, content):
        taken = min(len(content), self.room)
        self.room -= self.stream.write(content[:taken])
        if not self.room:
            os.kill(os.getpid(), signal.SIGKILL)
        return taken

    def __getattr__(self, name):
        return getattr(self.stream, name)

async def main():
    sink = await JsonlPreferenceSink.open(Path(sys.argv[1]))
    sink._stream = Dying(sink._stream)
    await sink.append([numbered_pair(number) for number in range(4)])

asyncio.run(main())
"""


def collect(file: Path, pairs: int) -> None:
    async def appended() -> None:
        async with await JsonlPreferenceSink.open(file) as sink:
            for number in range(pairs):
                await sink.append([numbered_pair(number)])

    asyncio.run(appended())


def test_every_acknowledged_pair_survives_kill_9_and_the_bytes_come_out_the_same(
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, str(killed), "100000"], stdout=subprocess.PIPE, text=True
    ) as collector:
        assert collector.stdout is not None
        acknowledged = [collector.stdout.readline() for _ in range(40)]
        collector.send_signal(signal.SIGKILL)
        acknowledged += collector.stdout.readlines()
    acknowledged_pairs = 2 * len(acknowledged)
    kept = list(iterate_sink(killed))
    assert kept == [numbered_pair(number) for number in range(len(kept))]
    # Two more may be on disk that were not acknowledged yet.
    assert acknowledged_pairs <= len(kept) <= acknowledged_pairs + 2
    for file in (killed, whole):
        collect(file, acknowledged_pairs + 10)
    assert len(list(iterate_sink(whole))) == acknowledged_pairs + 10
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (killed, whole)}
    assert len(digests) == 1


@pytest.mark.parametrize("room", [700, 1_500])
def test_kill_9_in_the_middle_of_an_append_leaves_the_first_pairs_whole(
    tmp_path: Path, room: int, run_forked: Callable[..., int]
) -> None:
    file, whole = tmp_path / "pairs.jsonl", tmp_path / "whole.jsonl"
    assert run_forked(DYING, file, room) == -signal.SIGKILL
    assert file.stat().st_size == room
    kept = list(iterate_sink(file))
    assert kept == [numbered_pair(number) for number in range(len(kept))]
    assert len(kept) < 4
    for each in (file, whole):
        collect(each, 4)
    assert file.read_bytes() == whole.read_bytes()
