"""The session log: every result once in the result files, whatever crashes meanwhile."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import tracemalloc
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agentrec.batch.partitions import ResultFormat
from agentrec.batch.session_log import SessionLog
from agentrec.batch.session_log_file import (
    BatchCounts,
    FinishedSession,
    KnownSession,
    RejectedSession,
    SessionLogFile,
)
from agentrec.errors import InputError, StoreError

LINES = ResultFormat("jsonl")


def finished(number: int, failure: str | None = None, **more: object) -> FinishedSession:
    content = {"session_id": f"s{number}", "row_index": number, "items": ["a"], **more}
    return FinishedSession(f"s{number}", number, content, failure)


def rejected(row_index: int, **more: object) -> RejectedSession:
    content = {"row_index": row_index, "reason": "not_json", **more}
    return RejectedSession(row_index, "not_json", content)


def part_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("results/part-*"))


def lines(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def ids(folder: Path) -> list[str]:
    return [row["session_id"] for row in lines(*part_files(folder))]


async def test_everything_is_written_once_in_the_order_of_the_input(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        for number in (2, 0, 1):
            await log.put(finished(number))
        await log.put(finished(3, "rate_limited", kind="rate_limited"))
        await log.put(rejected(4))
        await log.flush()
        counts = await log.counts()
    assert ids(tmp_path) == ["s0", "s1", "s2"]
    assert [row["kind"] for row in lines(tmp_path / "failures.jsonl")] == ["rate_limited"]
    assert lines(tmp_path / "rejected.jsonl") == [{"row_index": 4, "reason": "not_json"}]
    assert counts == BatchCounts(3, {"rate_limited": 1}, {"not_json": 1})


async def test_later_results_make_further_files(tmp_path: Path) -> None:
    for start in (0, 5):
        async with await SessionLog.open(tmp_path, LINES) as log:
            for number in range(start, start + 5):
                await log.put(finished(number))
            await log.flush()
            await log.flush()
    assert len(part_files(tmp_path)) == 2
    assert ids(tmp_path) == [f"s{number}" for number in range(10)]


async def test_a_part_file_is_written_as_soon_as_it_is_full(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES, part_size=10) as log:
        for number in range(100):
            await log.put(finished(number))
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        await log.flush()
    sizes = [len(lines(file)) for file in part_files(tmp_path)]
    assert len(sizes) > 1
    assert min(sizes[:-1]) >= 10
    assert sorted(ids(tmp_path)) == sorted(f"s{number}" for number in range(100))


async def test_a_session_is_known_at_once(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.put(finished(0))
        await log.put(finished(1, "refused"))
        known = {"s0": KnownSession(0, None), "s1": KnownSession(1, "refused")}
        asked = ["s0", "s1", *(f"other {number}" for number in range(2000))]
        assert await log.known(asked) == known
        await log.flush()
        assert await log.known(asked) == known


async def test_a_failure_is_replaced_and_a_result_stays(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.put(finished(0, "timed_out"))
        await log.flush()
        assert (tmp_path / "failures.jsonl").is_file()
        await log.put(finished(0, items=["good"]))
        await log.flush()
        await log.put(finished(0, "refused"))
        await log.put(finished(0, items=["late"]))
        await log.flush()
        assert await log.counts() == BatchCounts(1)
        assert await log.known(["s0"]) == {"s0": KnownSession(0, None)}
    assert [row["items"] for row in lines(*part_files(tmp_path))] == [["good"]]
    assert not (tmp_path / "failures.jsonl").exists()


class DyingFormat(ResultFormat):
    """The process dies before or after a file is written."""

    def write(self, file: Path, rows: Iterable[Mapping[str, object]]) -> None:
        if self.schema == "after":
            super().write(file, rows)
        raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_part_file_that_a_crash_interrupted_is_finished_once(
    tmp_path: Path, when: str
) -> None:
    log = await SessionLog.open(tmp_path, DyingFormat("jsonl", when))
    for number in range(3):
        await log.put(finished(number))
    with pytest.raises(KeyboardInterrupt):
        await log.flush()
    await log.close()
    assert len(part_files(tmp_path)) == (when == "after")
    async with await SessionLog.open(tmp_path, LINES) as log:
        assert ids(tmp_path) == ["s0", "s1", "s2"]
        await log.put(finished(3))
        await log.flush()
    assert ids(tmp_path) == ["s0", "s1", "s2", "s3"]
    assert len(part_files(tmp_path)) == 2


async def test_a_log_closed_without_a_flush_keeps_everything(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.put(finished(0))
        await log.set_fact("input", "a")
        await log.set_fact("input", "b")
    assert ids(tmp_path) == []
    async with await SessionLog.open(tmp_path, LINES) as log:
        assert (await log.fact("input"), await log.fact("other")) == ("b", None)
        await log.flush()
    assert ids(tmp_path) == ["s0"]


async def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, ResultFormat("parquet")) as log:
        await log.put(finished(0, hint_id=None, notes=["n"], seconds=0.5, repaired=False))
        await log.put(finished(1, items=["ä", "\u2028"]))
        await log.flush()
    table = pq.read_table(tmp_path / "results" / "part-00000.parquet")
    assert table.column("items").to_pylist() == [["a"], ["ä", "\u2028"]]
    assert table.schema.field("items").type.value_type == "string"
    assert table.column("seconds").to_pylist() == [0.5, None]


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES):
        with pytest.raises(StoreError, match="another process is working on this batch"):
            await SessionLog.open(tmp_path, LINES)
    async with await SessionLog.open(tmp_path, LINES):
        pass


async def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "sessions.sqlite"
    log.write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="is not a session log"):
        await SessionLog.open(tmp_path, LINES)
    log.unlink()
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("CREATE TABLE sessions (session_id TEXT PRIMARY KEY, place INTEGER)")
    with pytest.raises(InputError, match="by another version of agentrec; finish the batch with"):
        await SessionLog.open(tmp_path, LINES)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        await SessionLog.open(tmp_path / "file", LINES)
    with pytest.raises(ValueError, match="part_size"):
        await SessionLog.open(tmp_path, LINES, part_size=0)


async def test_very_many_at_once_are_all_kept(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await asyncio.gather(*(log.put(finished(number)) for number in range(5000)))
        assert (await log.counts()).done == 5000


async def test_memory_does_not_grow_with_rejected_rows(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        for row_index in range(8000):
            await log.put(rejected(row_index, raw=f"{row_index}{'x' * 2000}"))
        assert (await log.counts()).rejected == {"not_json": 8000}
        tracemalloc.start()
        await log.flush()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    file = tmp_path / "rejected.jsonl"
    assert [row["row_index"] for row in lines(file)] == list(range(8000))
    assert file.stat().st_size > 16_000_000
    assert peak < 1 << 20


async def test_a_caller_waits_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, disk_is_free, put = SessionLogFile.keep, threading.Event(), 0

    def keep_slowly(self: SessionLogFile, *given: Any) -> None:
        disk_is_free.wait(30)
        keep(self, *given)

    async def put_many(log: SessionLog) -> None:
        nonlocal put
        for number in range(5000):
            await log.put(finished(number))
            put += 1

    monkeypatch.setattr(SessionLogFile, "keep", keep_slowly)
    async with await SessionLog.open(tmp_path, LINES) as log:
        putting = asyncio.create_task(put_many(log))
        await asyncio.sleep(0.05)
        # A thousand may wait, and as many more while those are written.
        assert 0 < put <= 2002
        disk_is_free.set()
        await putting
        assert (await log.counts()).done == 5000
