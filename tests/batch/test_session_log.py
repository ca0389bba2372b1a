from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agentrec.batch.partitions import ResultFormat
from agentrec.batch.session_log import SessionLog
from agentrec.batch.session_log_file import (
    DoneSession,
    KnownSession,
    RejectedSession,
    SessionLogFile,
)
from agentrec.errors import InputError, StoreError

LINES = ResultFormat("jsonl")


def done(number: int, failure: str | None = None, **row: object) -> DoneSession:
    told = {"session_id": f"s{number}", "place": number, "items": ["a"], **row}
    return DoneSession(f"s{number}", number, told, failure)


def rejected(place: int, reason: str = "not_json") -> RejectedSession:
    return RejectedSession(place, reason, {"place": place, "reason": reason})


def written(folder: Path, name: str = "results/part-*.jsonl") -> list[dict[str, object]]:
    return [
        json.loads(line)
        for file in sorted(folder.glob(name))
        for line in file.read_text().splitlines()
    ]


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("results/part-*"))


def ids(folder: Path) -> list[object]:
    return [row["session_id"] for row in written(folder)]


async def test_what_is_put_is_written_once_in_the_order_of_the_input(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        for number in (2, 0, 1):
            await log.put(done(number))
        await log.put(done(3, "rate_limited", kind="rate_limited"))
        await log.reject(rejected(4))
        await log.flush()
        counts = await log.counts()
    assert ids(tmp_path) == ["s0", "s1", "s2"]
    assert [row["kind"] for row in written(tmp_path, "failures.jsonl")] == ["rate_limited"]
    assert written(tmp_path, "rejected.jsonl") == [{"place": 4, "reason": "not_json"}]
    assert (counts.done, counts.failed, counts.rejected) == (
        3,
        {"rate_limited": 1},
        {"not_json": 1},
    )
    assert (counts.failures, counts.rejections) == (1, 1)


async def test_later_results_make_further_files(tmp_path: Path) -> None:
    for start in (0, 5):
        async with await SessionLog.open(tmp_path, LINES) as log:
            for number in range(start, start + 5):
                await log.put(done(number))
            await log.flush()
            await log.flush()
    assert len(parts(tmp_path)) == 2
    assert ids(tmp_path) == [f"s{number}" for number in range(10)]


async def test_a_part_is_made_when_enough_are_there(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES, part_size=10) as log:
        for number in range(100):
            await log.put(done(number))
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        await log.flush()
    sizes = [len(file.read_text().splitlines()) for file in parts(tmp_path)]
    assert sum(sizes) == 100
    assert min(sizes[:-1], default=10) >= 10
    assert len(sizes) > 1
    assert sorted(ids(tmp_path), key=str) == sorted(f"s{number}" for number in range(100))


async def test_what_is_known_of_a_session_at_once(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.put(done(0))
        await log.put(done(1, "refused"))
        known = {"s0": KnownSession(0, None), "s1": KnownSession(1, "refused")}
        asked = ["s0", "s1", *(f"other {number}" for number in range(2000))]
        assert await log.known(asked) == known
        await log.flush()
        assert await log.known(asked) == known


async def test_a_failure_gives_way_and_a_result_stays(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.put(done(0, "timed_out"))
        await log.flush()
        assert (tmp_path / "failures.jsonl").is_file()
        await log.put(done(0, items=["good"]))
        await log.flush()
        await log.put(done(0, "refused"))
        await log.put(done(0, items=["late"]))
        await log.flush()
        assert (await log.counts()).failed == {}
        assert await log.known(["s0"]) == {"s0": KnownSession(0, None)}
    assert [row["items"] for row in written(tmp_path)] == [["good"]]
    assert not (tmp_path / "failures.jsonl").exists()


class Dying(ResultFormat):
    """Writes files before or after the process dies."""

    def write(self, file: Path, rows: Iterable[Mapping[str, object]]) -> None:
        if self.schema == "after":
            super().write(file, rows)
        raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_part_that_a_crash_left_is_finished_once(tmp_path: Path, when: str) -> None:
    log = await SessionLog.open(tmp_path, Dying("jsonl", when))
    for number in range(3):
        await log.put(done(number))
    with pytest.raises(KeyboardInterrupt):
        await log.flush()
    await log.close()
    assert len(parts(tmp_path)) == (when == "after")
    async with await SessionLog.open(tmp_path, LINES) as log:
        assert ids(tmp_path) == ["s0", "s1", "s2"]
        await log.put(done(3))
        await log.flush()
    assert ids(tmp_path) == ["s0", "s1", "s2", "s3"]
    assert len(parts(tmp_path)) == 2


async def test_what_was_closed_without_a_flush_is_there(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.put(done(0))
    assert ids(tmp_path) == []
    async with await SessionLog.open(tmp_path, LINES) as log:
        await log.flush()
    assert ids(tmp_path) == ["s0"]


async def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, ResultFormat("parquet")) as log:
        await log.put(done(0, hint_id=None, notes=["n"], seconds=0.5, repaired=False))
        await log.put(done(1, items=["ä", "\u2028"]))
        await log.flush()
    table = pq.read_table(tmp_path / "results" / "part-00000.parquet")
    assert table.column("items").to_pylist() == [["a"], ["ä", "\u2028"]]
    assert table.schema.field("items").type.value_type == "string"
    assert table.column("seconds").to_pylist() == [0.5, None]


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES):
        with pytest.raises(StoreError, match="another process"):
            await SessionLog.open(tmp_path, LINES)
    async with await SessionLog.open(tmp_path, LINES):
        pass


async def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "sessions.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="is not a log of sessions"):
        await SessionLog.open(tmp_path, LINES)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        await SessionLog.open(tmp_path / "file", LINES)
    with pytest.raises(ValueError, match="part_size"):
        await SessionLog.open(tmp_path, LINES, part_size=0)


async def test_facts(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        assert await log.fact("input") is None
        await log.note("input", "a")
        await log.note("input", "b")
    async with await SessionLog.open(tmp_path, LINES) as log:
        assert await log.fact("input") == "b"


async def test_very_many_at_once_are_all_kept(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        await asyncio.gather(*(log.put(done(number)) for number in range(5000)))
        assert (await log.counts()).done == 5000


async def test_memory_does_not_grow_with_what_is_rejected(tmp_path: Path) -> None:
    async with await SessionLog.open(tmp_path, LINES) as log:
        for place in range(8000):
            row = {"place": place, "raw": f"{place}{'x' * 2000}"}
            await log.reject(RejectedSession(place, "not_json", row))
        assert (await log.counts()).rejections == 8000
        tracemalloc.start()
        await log.flush()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert [row["place"] for row in written(tmp_path, "rejected.jsonl")] == list(range(8000))
    assert (tmp_path / "rejected.jsonl").stat().st_size > 16_000_000
    assert peak < 1 << 20


async def test_who_brings_very_many_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, free, brought = SessionLogFile.keep, threading.Event(), 0

    def slow(self: SessionLogFile, *given: Any) -> None:
        free.wait(30)
        keep(self, *given)

    async def bring(log: SessionLog) -> None:
        nonlocal brought
        for number in range(5000):
            await log.put(done(number))
            brought += 1

    monkeypatch.setattr(SessionLogFile, "keep", slow)
    async with await SessionLog.open(tmp_path, LINES) as log:
        bringing = asyncio.create_task(bring(log))
        await asyncio.sleep(0.05)
        # A thousand may wait, and as many more while these are being written.
        assert 0 < brought <= 2002
        free.set()
        await bringing
        assert (await log.counts()).done == 5000
