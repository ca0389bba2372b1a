import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrec.hints import STATES, Hint
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

DYING = """
import asyncio, os, signal, sys
from agentrec.hints import Hint
from agentrec.stores.qdrant import QdrantHintStore
from qdrant_client.local.persistence import CollectionPersistence

hints = [Hint(text=f"Prefer films of kind {number}.") for number in range(300)]
retired = [hint.model_copy(update={"state": "retired"}) for hint in hints]
persist, written = CollectionPersistence.persist, 0

def dying(*arguments):
    global written
    persist(*arguments)
    written += 1
    if written == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

CollectionPersistence.persist = dying

async def main():
    async with await QdrantHintStore.open(sys.argv[1], 2) as store:
        await store.add_many(hints, [[1.0, float(row)] for row in range(300)])
        await store.change(retired, "retired")

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


HINTS = [Hint(text=f"Prefer films of kind {number}.") for number in range(300)]
RETIRED = [hint.model_copy(update={"state": "retired"}) for hint in HINTS]


@pytest.mark.parametrize(
    ("written", "left"), [(1, []), (299, []), (300, []), (301, [300]), (600, [300])]
)
def test_kill_9_leaves_a_revision_whole_or_not_at_all_and_the_same_calls_complete_it(
    tmp_path: Path, written: int, left: list[int], run_forked: Callable[..., int]
) -> None:
    async def check() -> None:
        async with await QdrantHintStore.open(tmp_path, 2) as store:
            assert [len(revision.hint_ids) for revision in await store.revisions()] == left
            assert await store.all() == (HINTS if left else [])
            assert len(await store.search([1.0, 0.0], 1000, STATES)) == sum(left)
            answers = await store.add_many(HINTS, [[1.0, 0.0]] * 300)
            assert answers == [not left] * 300
            assert await store.change(RETIRED, "retired") == 2
            assert len(await store.search([1.0, 0.0], 1000, ["retired"])) == 300

    assert run_forked(DYING, tmp_path, written) == -signal.SIGKILL
    asyncio.run(check())
