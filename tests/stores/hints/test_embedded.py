"""A knowledge base in a folder: lasting, shared between processes, and closed to strangers."""

from __future__ import annotations

import asyncio
import pickle
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint, HintEmbedding
from agentrec.stores.hints.logged_store import LoggedHintStore
from agentrec.stores.hints.opening import KnowledgeBaseInfo, describe, namespaces, open_hint_store

EAST = [1.0, 0.0]


def hint(number: int, state: str = "admitted") -> Hint:
    return Hint.model_validate({"text": f"Prefer films of kind {number}.", "state": state})


async def opened(folder: Path, **options: str) -> LoggedHintStore:
    return await open_hint_store(folder, 2, **options)


def add_once(folder: Path) -> bool:
    """Open, add one hint, close; whether it was new."""

    async def adding() -> bool:
        async with await opened(folder) as store:
            return await store.add(hint(0), EAST)

    return asyncio.run(adding())


def refused(folder: Path, dimension: int = 2, **options: str) -> str:
    """The one line with which opening fails."""
    with pytest.raises(StoreError) as caught:
        asyncio.run(open_hint_store(folder, dimension, **options))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_reopening_brings_back_every_revision_and_the_order_goes_on(tmp_path: Path) -> None:
    async with await opened(tmp_path, embedding_model="m") as store:
        assert await store.roll_back(0) == 1
        await store.add_many([hint(0), hint(1)], [EAST, EAST], "two")
        await store.change([hint(0, "retired")], "one less")
        await store.roll_back(2)
        seen = [await store.as_of(number) for number in range(5)]
        revisions = await store.revisions()
    async with await opened(tmp_path) as store:
        assert await store.revisions() == revisions
        assert [await store.as_of(number) for number in range(5)] == seen
        assert not await store.add(hint(0), EAST)
        assert await store.add(hint(2), EAST)
        stored = await store.all()
        assert [each.text for each in stored] == [hint(number).text for number in range(3)]
        assert {each.embedding for each in stored} == {HintEmbedding(model="m", dimension=2)}
        assert len(await store.search(EAST, 9)) == 3


async def test_other_handles_see_what_one_writes(tmp_path: Path) -> None:
    async with await opened(tmp_path) as writer, await opened(tmp_path) as reader:
        assert await reader.search(EAST, 1) == []
        await writer.add(hint(0), EAST)
        assert (await reader.search(EAST, 1))[0].hint == hint(0)
        await writer.change([hint(0, "retired")], "gone")
        assert await reader.search(EAST, 1) == []
        assert await reader.roll_back(1) == 3
        assert (await writer.search(EAST, 1))[0].hint.version == 3


async def test_writers_at_once_never_lose_a_change(tmp_path: Path) -> None:
    stores = [await opened(tmp_path) for _ in range(4)]
    hints = [hint(number) for number in range(24)]
    answers = await asyncio.gather(*(store.add(each, EAST) for each in hints for store in stores))
    assert sum(answers) == 24
    for store in stores:
        assert len(await store.all()) == 24
        assert [each.number for each in await store.revisions()] == list(range(1, 25))
        await store.aclose()


READER = """
import asyncio, sys
from agentrec.stores.hints.opening import open_hint_store

async def main():
    async with await open_hint_store(sys.argv[1], 2) as store:
        print("open", flush=True)
        seen = 0
        while seen < 30:
            found = await store.search([1.0, 0.0], 100)
            assert len(found) >= seen and len(found) % 3 == 0, (len(found), seen)
            seen = len(found)

asyncio.run(main())
"""


async def test_two_processes_read_whole_revisions_beside_a_writer(tmp_path: Path) -> None:
    async with await opened(tmp_path) as store:
        command = [sys.executable, "-c", READER, str(tmp_path)]
        readers = [
            await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert await asyncio.to_thread(reader.stdout.readline) == "open\n"
        for start in range(0, 30, 3):
            await store.add_many([hint(start + row) for row in range(3)], [EAST] * 3)
        for reader in readers:
            await asyncio.to_thread(reader.communicate)
            assert reader.returncode == 0


async def test_a_writer_that_holds_on_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = asyncio.to_thread(add_once, tmp_path)
    await add
    monkeypatch.setattr("agentrec.stores.hints.revision_log._WAIT_FOR_WRITER", 0.05)
    with closing(sqlite3.connect(tmp_path / "hints.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with await opened(tmp_path) as store:
            assert await store.all() == [hint(0)]
            with pytest.raises(StoreError, match="another process is writing"):
                await store.add(hint(1), EAST)
            other.execute("ROLLBACK")
            assert await store.add(hint(1), EAST)


async def test_a_full_disk_stores_nothing_of_a_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await opened(tmp_path) as store:
        await store.add(hint(0), EAST)
        limit = store._log._connection  # type: ignore[attr-defined]
        pages = limit.execute("PRAGMA page_count").fetchone()[0]
        limit.execute(f"PRAGMA max_page_count = {pages + 2}")
        many = [hint(number) for number in range(300)]
        with pytest.raises(StoreError, match="full"):
            await store.add_many(many, [EAST] * 300)
        assert await store.all() == [hint(0)]
        assert len(await store.search(EAST, 9)) == 1
        limit.execute("PRAGMA max_page_count = 1000000")
        assert sum(await store.add_many(many, [EAST] * 300)) == 299


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await asyncio.gather(store.aclose(), store.aclose())
    for call in (store.add(hint(0), EAST), store.all(), store.search_many([EAST], 1)):
        with pytest.raises(StoreError, match="closed"):
            await call


async def test_a_cancelled_add_is_stored(tmp_path: Path) -> None:
    async with await opened(tmp_path) as store:
        store._lock.acquire()
        adding = asyncio.create_task(store.add(hint(0), EAST))
        await asyncio.sleep(0.05)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        store._lock.release()
        await asyncio.sleep(0.2)
        assert await store.add(hint(0), EAST) is False


ADDER = """
import asyncio, itertools, sys
from agentrec.hints import Hint
from agentrec.stores.hints.opening import open_hint_store

async def main():
    store = await open_hint_store(sys.argv[1], 2)
    for number in itertools.count():
        assert await store.add(Hint(text=f"Prefer films of kind {number}."), [1.0, float(number)])
        print(number, flush=True)

asyncio.run(main())
"""

DYING = """
import asyncio, os, signal, sqlite3, sys
from agentrec.hints import Hint
from agentrec.stores.hints import revision_log
from agentrec.stores.hints.opening import open_hint_store

hints = [Hint(text=f"Prefer films of kind {number}.") for number in range(300)]
written, wanted = 0, int(sys.argv[2])

class Dying(sqlite3.Connection):
    def executemany(self, statement, rows):
        if "version" in statement:
            rows = self.counted(rows)
        return super().executemany(statement, rows)

    def counted(self, rows):
        global written
        for row in rows:
            yield row
            written += 1
            if written == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

connect = sqlite3.connect
revision_log.sqlite3.connect = lambda *a, **o: connect(*a, **o, factory=Dying)

async def main():
    async with await open_hint_store(sys.argv[1], 2) as store:
        await store.add_many(hints, [[1.0, float(row)] for row in range(300)])
        await store.change([h.model_copy(update={"state": "retired"}) for h in hints], "retired")

asyncio.run(main())
"""


def test_every_acknowledged_hint_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ADDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as adder:
        assert adder.stdout is not None
        acknowledged = [adder.stdout.readline() for _ in range(50)]
        adder.send_signal(signal.SIGKILL)
        acknowledged += adder.stdout.readlines()

    async def stored() -> list[Hint]:
        async with await opened(tmp_path) as store:
            return await store.all()

    hints = asyncio.run(stored())
    # One more may have reached the disk before its acknowledgement was printed.
    assert len(acknowledged) <= len(hints) <= len(acknowledged) + 1
    assert hints == [hint(number) for number in range(len(hints))]


@pytest.mark.parametrize(("written", "left"), [(1, []), (300, []), (301, [300]), (600, [300])])
def test_kill_9_leaves_a_revision_whole_or_not_at_all_and_the_same_calls_complete_it(
    tmp_path: Path, written: int, left: list[int], run_forked: Callable[..., int]
) -> None:
    hints = [hint(number) for number in range(300)]

    async def check() -> None:
        async with await opened(tmp_path) as store:
            assert [len(revision.hint_ids) for revision in await store.revisions()] == left
            assert await store.all() == (hints if left else [])
            assert len(await store.search(EAST, 1000, STATES)) == sum(left)
            assert await store.add_many(hints, [EAST] * 300) == [not left] * 300
            assert await store.change([hint(n, "retired") for n in range(300)], "retired") == 2
            assert len(await store.search(EAST, 1000, ["retired"])) == 300

    assert run_forked(DYING, tmp_path, written) == -signal.SIGKILL
    asyncio.run(check())


def test_another_model_or_length_is_refused_with_the_way_out(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(_make(tmp_path, "minilm"), 30))
    for dimension, model in ((3, "minilm"), (2, "other")):
        message = refused(tmp_path, dimension, embedding_model=model)
        assert "'minilm' of length 2" in message
        assert "kb reembed" in message


async def _make(folder: Path, model: str) -> None:
    async with await opened(folder, embedding_model=model) as store:
        await store.add(hint(0), EAST)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW more AS SELECT * FROM revision", "not a knowledge base of this version"),
        (
            "CREATE TRIGGER more AFTER INSERT ON revision BEGIN DELETE FROM version; END",
            "not a knowledge base of this version",
        ),
        ("CREATE TABLE more (x)", "not a knowledge base of this version"),
        ("UPDATE version SET hint = '{}'", "cannot be used"),
        ("UPDATE version SET hint = 'x'", "cannot be used"),
        ("DELETE FROM base", "cannot be used"),
    ],
)
def test_what_a_stranger_may_have_put_in_is_refused(
    tmp_path: Path, statement: str, said: str
) -> None:
    add_once(tmp_path)
    with closing(sqlite3.connect(tmp_path / "hints.sqlite")) as connection, connection:
        connection.execute(statement)
    assert said in refused(tmp_path)


def test_a_link_a_file_and_garbage_are_refused(tmp_path: Path) -> None:
    add_once(tmp_path / "real")
    link = tmp_path / "link"
    link.mkdir()
    (link / "hints.sqlite").symlink_to(tmp_path / "real" / "hints.sqlite")
    assert "symbolic link" in refused(link)
    file = tmp_path / "file"
    file.write_text("x")
    assert "is a file" in refused(file)
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "hints.sqlite").write_bytes(b"x" * 5000)
    assert "cannot be used" in refused(garbage)


def test_a_knowledge_base_of_an_earlier_version_is_refused_and_never_unpickled(
    tmp_path: Path,
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[str, str]]:
            return Path.write_text, (tmp_path / "ran", "x")  # type: ignore[return-value]

    base = tmp_path / "base"
    database = base / "collection" / "hints" / "storage.sqlite"
    database.parent.mkdir(parents=True)
    (base / "meta.json").write_text('{"collections": {"hints": {}}, "aliases": {}}')
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE points (id TEXT PRIMARY KEY, point BLOB)")
        connection.execute("INSERT INTO points VALUES ('a', ?)", (pickle.dumps(Evil()),))
    message = refused(base)
    assert "earlier version" in message
    assert "kb import" in message
    assert not (tmp_path / "ran").exists()


async def test_namespaces_are_apart_and_can_be_described(tmp_path: Path) -> None:
    for namespace in ("", "films", "films-2"):
        own = Hint(text="Prefer old films.", namespace=namespace)
        async with await opened(tmp_path, namespace=namespace, embedding_model="m") as store:
            assert await store.add(own, EAST)
            with pytest.raises(ValueError, match="namespace"):
                await store.add(Hint(text="x", namespace="elsewhere"), EAST)
            await store.change([own.model_copy(update={"state": "retired"})], "gone")
            described = await describe(tmp_path, namespace)
        assert described == KnowledgeBaseInfo(
            namespace=namespace,
            embedding_model="m",
            dimension=2,
            counts={"nominated": 0, "admitted": 0, "retired": 1},
            revisions=2,
        )
    assert await namespaces(tmp_path) == ["", "films", "films-2"]
    assert await namespaces(tmp_path / "none") == []
    assert await describe(tmp_path, "none") is None
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="namespace"):
        await opened(tmp_path, namespace="no/such")
