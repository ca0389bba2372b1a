import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from agentrec.stores.qdrant import QdrantHintStore

ADDER = """
import asyncio, itertools, sys
from agentrec.hints import Hint
from agentrec.stores.qdrant import QdrantHintStore

async def main():
    store = await QdrantHintStore.open(sys.argv[1], 2)
    for number in itertools.count():
        hint = Hint(text=f"Prefer films of kind {number}.")
        assert await store.add(hint, [1.0, float(number)])
        print(hint.text, flush=True)

asyncio.run(main())
"""


async def texts(folder: Path) -> list[str]:
    async with await QdrantHintStore.open(folder, 2) as store:
        return [hint.text for hint in await store.all()]


def test_every_acknowledged_hint_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ADDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as adder:
        assert adder.stdout is not None
        acknowledged = [adder.stdout.readline() for _ in range(50)]
        adder.send_signal(signal.SIGKILL)
        acknowledged += adder.stdout.readlines()
    stored = asyncio.run(texts(tmp_path))
    assert len(acknowledged) >= 50
    # One more may have reached the disk before its acknowledgement was printed.
    assert [line.strip() for line in acknowledged] == stored[: len(acknowledged)]
    assert len(stored) <= len(acknowledged) + 1
