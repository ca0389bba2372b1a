import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from agentrec.errors import AgentRecError, InputError
from agentrec.llm.journal import CallJournal, RecentAnswers
from agentrec.llm.journal_file import Batch, JournaledAnswer, JournalFile, Written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


def rows_on_disk(path: Path) -> dict[str, str]:
    """What another reader sees of the file, now."""
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT key, text FROM answers"))
    finally:
        connection.close()


def stopped_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written until the event is set."""
    go = threading.Event()
    write = JournalFile.write

    def waiting(file: JournalFile, batch: Batch) -> Written:
        go.wait(5)
        return write(file, batch)

    monkeypatch.setattr(JournalFile, "write", waiting)
    return go


async def test_two_hundred_at_once_are_all_there_after_reopening(path: Path) -> None:
    with blockbuster_ctx():
        async with await CallJournal.open(path) as journal:
            await asyncio.gather(
                *(
                    journal.put(f"k{n}", "rank", JournaledAnswer(f"answer {n}\n“x”", n, 2 * n))
                    for n in range(200)
                )
            )
            assert len(journal) == 200
    async with await CallJournal.open(path) as again:
        assert len(again) == 200
        for n in range(200):
            assert await again.get(f"k{n}") == JournaledAnswer(f"answer {n}\n“x”", n, 2 * n)
        assert await again.get("other") is None


async def test_an_answer_is_seen_only_once_it_is_in_the_file(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        for n in range(20):
            putting = asyncio.create_task(journal.put(f"k{n}", "n", JournaledAnswer(str(n))))
            while not putting.done():
                if journal.in_memory(f"k{n}") is not None:
                    assert f"k{n}" in rows_on_disk(path)
                await asyncio.sleep(0)
            await putting
            assert rows_on_disk(path)[f"k{n}"] == str(n)


async def test_the_first_answer_under_a_key_stays_in_memory_as_on_disk(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        both = [journal.put("k", "n", JournaledAnswer(text)) for text in ("first", "second")]
        await asyncio.gather(*both)
        await journal.put("k", "n", JournaledAnswer("third"))
        in_memory = await journal.get("k")
    async with await CallJournal.open(path) as again:
        assert await again.get("k") == in_memory == JournaledAnswer("first")


async def test_writers_share_transactions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = JournalFile.write

    def counting(file: JournalFile, batch: Batch) -> Written:
        sizes.append(len(batch.answers))
        return write(file, batch)

    monkeypatch.setattr(JournalFile, "write", counting)
    async with await CallJournal.open(path) as journal:
        await asyncio.gather(*(journal.put(f"k{n}", "n", JournaledAnswer("x")) for n in range(300)))
    assert sum(sizes) == 300
    assert len(sizes) <= 3


async def test_a_cancelled_caller_does_not_take_the_answer_along(path: Path) -> None:
    journal = await CallJournal.open(path)
    caller = asyncio.create_task(journal.put("k", "n", JournaledAnswer("paid")))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(journal.put("later", "n", JournaledAnswer("x")), 5)
    assert await journal.get("k") == JournaledAnswer("paid")
    await journal.aclose()
    assert rows_on_disk(path)["k"] == "paid"


async def test_closing_writes_what_waits_even_if_the_closer_is_cancelled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = stopped_disk(monkeypatch)
    journal = await CallJournal.open(path)
    callers = [
        asyncio.create_task(journal.put(f"k{n}", "n", JournaledAnswer("x"))) for n in range(2)
    ]
    await asyncio.sleep(0.01)
    callers.append(asyncio.create_task(journal.put("k2", "n", JournaledAnswer("x"))))
    await asyncio.sleep(0)
    closing = asyncio.create_task(journal.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    go.set()
    await asyncio.wait_for(asyncio.gather(*callers), 5)
    assert set(rows_on_disk(path)) == {"k0", "k1", "k2"}


async def test_the_loop_goes_on_while_the_disk_is_slow(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = stopped_disk(monkeypatch)
    async with await CallJournal.open(path) as journal:
        putting = asyncio.create_task(journal.put("k", "n", JournaledAnswer("x")))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not putting.done()
        assert journal.in_memory("k") is None
        go.set()
        await putting


async def test_a_failed_write_tells_its_callers_and_ends_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = JournalFile.write

    def full(file: JournalFile, batch: Batch) -> Written:
        raise sqlite3.OperationalError("database or disk is full")

    async with await CallJournal.open(path) as journal:
        monkeypatch.setattr(JournalFile, "write", full)
        with pytest.raises(AgentRecError, match="disk is full"):
            await asyncio.wait_for(journal.put("k", "n", JournaledAnswer("x")), 5)
        assert await journal.get("k") is None
        monkeypatch.setattr(JournalFile, "write", write)
        await asyncio.wait_for(journal.put("k", "n", JournaledAnswer("y")), 5)
    assert rows_on_disk(path) == {"k": "y"}


async def test_what_cannot_be_stored_fails_instead_of_hanging(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        with pytest.raises(AgentRecError, match="could not be written"):
            await asyncio.wait_for(journal.put("k", "n", JournaledAnswer("x", 2**70)), 5)
        await asyncio.wait_for(journal.put("l", "n", JournaledAnswer("x")), 5)


async def test_an_answer_cut_off_in_a_character_is_kept(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        await asyncio.wait_for(journal.put("k", "n", JournaledAnswer("fine \ud83d")), 5)
    assert rows_on_disk(path) == {"k": "fine ?"}


async def test_closed_is_closed(path: Path) -> None:
    journal = await CallJournal.open(path)
    await journal.put("k", "n", JournaledAnswer("x"))
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(AgentRecError, match="closed"):
        await asyncio.wait_for(journal.put("l", "n", JournaledAnswer("x")), 5)
    assert await journal.get("k") == JournaledAnswer("x")


async def test_what_is_no_journal_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a data base " * 100)
    foreign = {name: tmp_path / f"{name}.sqlite" for name in ("answers", "facts")}
    for table, place in foreign.items():
        connection = sqlite3.connect(place)
        connection.execute(f"CREATE TABLE {table} (something TEXT)")
        connection.close()
    for path in (text, *foreign.values(), tmp_path, text / "below" / "calls.sqlite"):
        with pytest.raises(InputError) as caught:
            await CallJournal.open(path)
        assert caught.value.file == path
        assert "call journal" in str(caught.value)
    assert text.read_text() == "not a data base " * 100


async def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    async with await CallJournal.open(tmp_path / "a" / "b" / "calls.sqlite") as journal:
        await journal.put("k", "n", JournaledAnswer("x"))
    assert rows_on_disk(tmp_path / "a" / "b" / "calls.sqlite") == {"k": "x"}


async def test_look_ups_share_queries(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await CallJournal.open(path) as journal:
        for n in range(1500):
            journal._unwritten.answers.append((f"k{n}", "n", JournaledAnswer(str(n))))
        await journal.put("last", "n", JournaledAnswer("x"))
    sizes: list[int] = []
    answers = JournalFile.answers
    monkeypatch.setattr(
        JournalFile, "answers", lambda file, keys: (sizes.append(len(keys)), answers(file, keys))[1]
    )
    async with await CallJournal.open(path) as again:
        sizes.clear()
        found = await asyncio.gather(*(again.get(f"k{n}") for n in range(1600)))
        assert [each.text for each in found if each] == [str(n) for n in range(1500)]
        assert found[1500:] == [None] * 100
        assert await asyncio.gather(*(again.get("k7") for _ in range(50))) == [found[7]] * 50
    assert sum(sizes) == 1600
    assert len(sizes) <= 3


async def test_memory_is_bounded_and_everything_is_still_found(path: Path) -> None:
    async with await CallJournal.open(path, memory=20_000) as journal:
        for n in range(200):
            await journal.put(f"k{n}", "n", JournaledAnswer("x" * 600 + str(n)))
        assert len(journal) == 200
        assert [n for n in range(200) if journal.in_memory(f"k{n}")] == list(range(181, 200))
        for n in range(200):
            answer = await journal.get(f"k{n}")
            assert answer is not None
            assert answer.text == "x" * 600 + str(n)


async def test_what_another_process_answered_is_seen_and_stays(path: Path) -> None:
    async with await CallJournal.open(path) as one, await CallJournal.open(path) as other:
        assert await other.get("k") is None
        await one.put("k", "n", JournaledAnswer("first"))
        assert await other.put("k", "n", JournaledAnswer("second")) == JournaledAnswer("first")
        assert await other.get("k") == JournaledAnswer("first")
        await one.put("l", "n", JournaledAnswer("x"))
        assert await other.get("l") == JournaledAnswer("x")


async def test_a_file_that_is_locked_is_a_clear_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentrec.llm.journal_file.BUSY_TIMEOUT", 0.05)
    async with await CallJournal.open(path) as journal:
        rival = sqlite3.connect(path, isolation_level=None)
        rival.execute("BEGIN IMMEDIATE")
        with pytest.raises(AgentRecError, match="another process keeps it locked"):
            await journal.put("k", "n", JournaledAnswer("x"))
        with pytest.raises(InputError, match="locked by another process"):
            await CallJournal.open(path)
        rival.execute("ROLLBACK")
        rival.close()
        await journal.put("k", "n", JournaledAnswer("y"))
    assert rows_on_disk(path) == {"k": "y"}


async def test_looking_up_in_a_broken_file_raises(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await CallJournal.open(path) as journal:
        with monkeypatch.context() as patched:

            def broken(file: JournalFile, keys: object) -> dict[str, JournaledAnswer]:
                raise sqlite3.DatabaseError("disk image is malformed")

            patched.setattr(JournalFile, "answers", broken)
            with pytest.raises(AgentRecError, match="image is malformed"):
                await asyncio.wait_for(journal.get("k"), 5)
        assert await journal.get("k") is None


def test_what_was_not_used_for_longest_makes_room() -> None:
    recent = RecentAnswers(3 * 500)
    for key in "abc":
        recent.hold(key, JournaledAnswer("x" * 100))
    assert recent.get("a") is not None
    recent.hold("d", JournaledAnswer("x" * 100))
    assert [key for key in "abcd" if recent.get(key)] == ["a", "c", "d"]
    # One large answer takes the place of several small ones.
    recent.hold("e", JournaledAnswer("x" * 600))
    assert [key for key in "acde" if recent.get(key)] == ["d", "e"]


def test_impossible_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="memory"):
        RecentAnswers(-1)


async def test_two_journals_on_one_file_lose_nothing(path: Path) -> None:
    async with await CallJournal.open(path) as one, await CallJournal.open(path) as other:
        await asyncio.gather(
            *(
                j.put(f"{i}-{n}", "n", JournaledAnswer("x"))
                for n in range(50)
                for i, j in enumerate((one, other))
            )
        )
    assert len(rows_on_disk(path)) == 100


async def test_a_file_of_an_earlier_format_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, node TEXT, text TEXT)")
    connection.execute("INSERT INTO answers VALUES ('k', 'n', 'paid')")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="cannot be used as a call journal"):
        await CallJournal.open(path)
    assert rows_on_disk(path) == {"k": "paid"}
