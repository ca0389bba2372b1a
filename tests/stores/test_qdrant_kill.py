import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from agentrec.hints import STATES
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

BATCHES = """
import asyncio, itertools, sys
from agentrec.hints import Hint
from agentrec.stores.qdrant import QdrantHintStore

async def main():
    store = await QdrantHintStore.open(sys.argv[1], 2)
    for batch in itertools.count():
        hints = [Hint(text=f"Prefer films of kind {100 * batch + row}.") for row in range(100)]
        await store.add_many(hints, [[1.0, float(row)] for row in range(100)])
        await store.change([hint.model_copy(update={"state": "retired"}) for hint in hints], "no")
        print(batch, flush=True)

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


async def sizes(folder: Path) -> tuple[list[int], int]:
    """How many hints each revision touched, and how many there are."""
    async with await QdrantHintStore.open(folder, 2) as store:
        touched = [len(revision.hint_ids) for revision in await store.revisions()]
        return touched, len(await store.all(STATES))


def test_a_revision_survives_kill_9_whole_or_not_at_all(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BATCHES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as adder:
        assert adder.stdout is not None
        acknowledged = [adder.stdout.readline() for _ in range(3)]
        adder.send_signal(signal.SIGKILL)
        acknowledged += adder.stdout.readlines()
    touched, stored = asyncio.run(sizes(tmp_path))
    assert set(touched) == {100}
    assert len(acknowledged) >= 3
    assert 2 * len(acknowledged) <= len(touched) <= 2 * len(acknowledged) + 2
    assert stored == 100 * ((len(touched) + 1) // 2)
