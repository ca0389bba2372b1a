from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agentrec.catalog import Catalog, Item
from agentrec.data import RowLimits, read_session_rows, stream_session_rows
from agentrec.errors import InputError
from agentrec.testing.loop_watch import LoopWatch

CATALOG = Catalog(Item(item_id=i, title=i) for i in "abcd")


def lines_file(folder: Path, count: int) -> Path:
    file = folder / "sessions.jsonl"
    row = {"items": ["a"], "candidates": ["c", "d"]}
    lines = [json.dumps({"session_id": n, **row}) if n % 7 else "{" for n in range(count)]
    file.write_text("\n".join(lines))
    return file


async def test_the_rows_are_those_of_the_reader(tmp_path: Path) -> None:
    file = lines_file(tmp_path, 1000)
    limits = RowLimits(id_characters=2)
    streamed = [row async for row in stream_session_rows(file, CATALOG, limits=limits)]
    assert streamed == list(read_session_rows(file, CATALOG, limits=limits))
    assert [row.index for row in streamed] == list(range(1000))


async def test_the_loop_is_never_blocked(tmp_path: Path) -> None:
    file = lines_file(tmp_path, 20_000)
    taken = 0
    async with LoopWatch(0.1) as watch, aclosing(stream_session_rows(file, CATALOG)) as rows:
        async for _ in rows:
            taken += 1
    assert taken == 20_000
    assert not watch.blocked, "\n".join(map(str, watch.blocked))


class Watched:
    """The reader, counting what is read and noting when it is closed."""

    def __init__(self) -> None:
        self.read = 0
        self.threads: set[int] = set()
        self.closed = threading.Event()
        self.go_on = threading.Event()
        self.reading = threading.Event()
        self.go_on.set()

    def __call__(
        self, file: Path, catalog: Catalog, *, limits: RowLimits
    ) -> Generator[object, None, None]:
        try:
            for row in read_session_rows(file, catalog, limits=limits):
                self.threads.add(threading.get_ident())
                self.read += 1
                self.reading.set()
                self.go_on.wait(30)
                yield row
        finally:
            self.closed.set()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setattr("agentrec.data.session_rows.read_session_rows", made)
    return made


async def test_closing_early_closes_the_file_and_little_was_read_ahead(
    tmp_path: Path, watched: Watched
) -> None:
    async with aclosing(stream_session_rows(lines_file(tmp_path, 5000), CATALOG)) as rows:
        assert (await anext(rows)).index == 0
        assert not watched.closed.is_set()
    assert watched.closed.is_set()
    assert watched.read <= 256
    assert threading.get_ident() not in watched.threads


async def test_a_cancelled_wait_ends_the_reading_and_closes_the_file(
    tmp_path: Path, watched: Watched
) -> None:
    watched.go_on.clear()
    rows = stream_session_rows(lines_file(tmp_path, 5000), CATALOG)
    task = asyncio.ensure_future(anext(rows))
    await asyncio.to_thread(watched.reading.wait, 30)
    task.cancel()
    await asyncio.sleep(0.01)
    watched.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.closed.is_set()
    assert watched.read == 1


async def test_an_error_in_the_file_is_raised_after_the_rows_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is missing"):
        await anext(stream_session_rows(tmp_path / "sessions.csv", CATALOG))
    file = lines_file(tmp_path, 300)

    def breaks_off(*given: Any, **more: Any) -> Generator[object, None, None]:
        yield from read_session_rows(*given, **more)
        raise InputError("breaks off", file=file)

    monkeypatch.setattr("agentrec.data.session_rows.read_session_rows", breaks_off)
    taken: list[int] = []

    async def take() -> None:
        async for row in stream_session_rows(file, CATALOG):
            taken.append(row.index)

    with pytest.raises(InputError, match="breaks off"):
        await take()
    assert taken == list(range(300))
