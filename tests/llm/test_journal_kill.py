import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from agentrec.llm.journal import CallJournal, JournaledAnswer

ROUNDS = 8

WRITER = """
import asyncio, os, sys
from pathlib import Path
from agentrec.llm.journal import CallJournal, JournaledAnswer

async def put(journal, first):
    n = first
    while True:
        await journal.put(f"k{n}", "rank", JournaledAnswer(f"answer {n} " + "x" * 500, n, 1))
        os.write(1, f"{n}\\n".encode())
        n += 8

async def main():
    journal = await CallJournal.open(Path(sys.argv[1]))
    await asyncio.gather(*(put(journal, int(sys.argv[2]) + first) for first in range(8)))

asyncio.run(main())
"""


def write_until_killed(path: Path, start: int, seconds: float) -> list[int]:
    """Let a process put answers, kill it some time after the first; what it said it had kept."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(start)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()
    process.stdout.close()
    assert process.wait(10) == -signal.SIGKILL, "it ended by itself"
    return [int(line) for line in said.split()]


def test_every_answer_that_was_acknowledged_survives_the_kill(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    generator = random.Random(5)
    acknowledged: list[int] = []

    async def check() -> int:
        async with await CallJournal.open(path) as journal:
            for n in acknowledged:
                expected = JournaledAnswer(f"answer {n} " + "x" * 500, n, 1)
                assert journal.get(f"k{n}") == expected
            return len(journal)

    for round_number in range(ROUNDS):
        said = write_until_killed(path, round_number * 10_000_000, generator.uniform(0, 0.05))
        assert said
        acknowledged += said
        # The file of one round is the next one's start: a journal must also open after a kill.
        assert asyncio.run(check()) >= len(acknowledged)
    assert len(set(acknowledged)) == len(acknowledged) > ROUNDS
