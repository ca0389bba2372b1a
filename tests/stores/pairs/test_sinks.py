import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrec.contracts import PreferenceSink
from agentrec.errors import StoreError
from agentrec.stores.pairs.sinks import InMemoryPreferenceSink, JsonlPreferenceSink, iterate_sink
from agentrec.testing.preference_sink_conformance import (
    DurablePreferenceSinkConformance,
    Opener,
    PreferenceSinkConformance,
    numbered_pair,
)


class TestInMemoryPreferenceSink(PreferenceSinkConformance):
    @pytest.fixture
    def sink(self) -> PreferenceSink:
        return InMemoryPreferenceSink()


PAIRS = [numbered_pair(number) for number in range(6)]


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[PreferenceSink]:
    async with await JsonlPreferenceSink.open(file) as sink:
        yield sink


class TestJsonlPreferenceSink(DurablePreferenceSinkConformance):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        def opener() -> AbstractAsyncContextManager[PreferenceSink]:
            return opened(tmp_path / "deep" / "pairs.jsonl")

        return opener

    @pytest_asyncio.fixture
    async def sink(self, opener: Opener) -> AsyncIterator[PreferenceSink]:
        async with opener() as sink:
            yield sink


async def written(file: Path, pairs: list[object] = PAIRS) -> bytes:
    async with opened(file) as sink:
        await sink.append(pairs)
    return await asyncio.to_thread(file.read_bytes)


async def test_a_line_is_readable_json_with_the_id_in_front(tmp_path: Path) -> None:
    content = await written(tmp_path / "pairs.jsonl", [numbered_pair(0, chosen="日本")])
    record = json.loads(content)
    assert next(iter(record.items())) == (
        "pair_id",
        numbered_pair(0, chosen="日本").pair_id,
    )
    assert "日本" in content.decode()
    assert record["chosen_reward"] == {"value": 0.5, "margin": 1 / 3}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_a_file_was_cut_the_same_calls_make_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = asyncio.run(written(folder / "whole.jsonl"))
    end = data.draw(st.integers(0, len(whole)))
    zeros = data.draw(st.integers(0, 3))
    file = folder / "cut.jsonl"
    # After a power failure there may be zeros where nothing had been written yet.
    file.write_bytes(whole[:end] + b"\0" * zeros)

    async def again() -> int:
        async with opened(file) as sink:
            complete = len(await sink.all())
            assert await sink.append(PAIRS) == len(PAIRS) - complete
        return complete

    complete = asyncio.run(again())
    assert complete in {whole[:end].count(b"\n"), whole[:end].count(b"\n") + 1}
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(whole).digest()


async def test_a_last_line_that_only_lacks_its_line_feed_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    whole = await written(file)
    file.write_bytes(whole[:-1])
    assert list(iterate_sink(file)) == PAIRS[:-1]
    async with opened(file) as sink:
        assert file.read_bytes() == whole
        assert await sink.append(PAIRS[-1:]) == 0


def changed(line: bytes, old: str, new: str) -> bytes:
    assert old.encode() in line
    return line.replace(old.encode(), new.encode())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda line: b"\n", "not valid JSON"),
        (lambda line: line[:50] + b"\n", "not valid JSON"),
        (lambda line: b"\xff" + line, "not valid JSON"),
        (lambda line: b"[" * 100_000 + b"\n", "nested too deeply|not valid JSON"),
        (lambda line: b'["a"]\n', "not a JSON object"),
        (lambda line: b"{}\n", "field 'session_id': Field required"),
        (lambda line: changed(line, "drama", "comedy"), "field 'pair_id': is not the id"),
        (lambda line: changed(line, '"user_id"', '"user"'), "field 'user': Extra"),
        (lambda line: changed(line, '"value": 0.5', '"value": 5'), "field 'chosen_reward.value'"),
        (lambda line: changed(line, '"value": 0.5', '"value": NaN'), "field 'chosen_reward.value'"),
        (lambda line: changed(line, '"role": "user"', '"role": "\\u001b[2J"'), "prompt.0.role"),
        (lambda line: line + line, r"pairs.jsonl:4: repeats the pair of an earlier line"),
        (lambda line: b"x" * (4 * 2**20 + 1) + b"\n", "longer than"),
    ],
)
async def test_a_broken_line_is_reported_with_file_and_line(
    tmp_path: Path, fault: object, message: str
) -> None:
    file = tmp_path / "pairs.jsonl"
    lines = (await written(file)).splitlines(keepends=True)
    lines[2] = fault(lines[2])
    file.write_bytes(b"".join(lines))
    before = file.read_bytes()
    for _ in range(2):
        # Twice: the first failure must release the lock.
        with pytest.raises(StoreError, match=message) as caught:
            await JsonlPreferenceSink.open(file)
        assert f"{file}:{4 if 'earlier' in message else 3}: " in str(caught.value)
        assert str(caught.value).isprintable()
    with pytest.raises(StoreError, match=message):
        list(iterate_sink(file))
    assert file.read_bytes() == before


async def test_one_opener_at_a_time_in_a_process(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    async with opened(file):
        with pytest.raises(StoreError, match="another sink has"):
            await JsonlPreferenceSink.open(file)
    async with opened(file):
        pass


OPENER = """
import asyncio, sys
from pathlib import Path
from agentrec.stores.pairs.sinks import JsonlPreferenceSink
try:
    asyncio.run(JsonlPreferenceSink.open(Path(sys.argv[1])))
except Exception as error:
    print(type(error).__name__, error)
"""


async def test_one_opener_at_a_time_on_a_machine(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    async with opened(file):
        result = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", OPENER, str(file)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert result.stdout.startswith("StoreError")
    assert "another sink has" in result.stdout


async def test_a_file_that_cannot_be_opened_or_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for file in (tmp_path, tmp_path / "file" / "pairs.jsonl"):
        with pytest.raises(StoreError, match="cannot be opened"):
            await JsonlPreferenceSink.open(file)
    with pytest.raises(StoreError, match="cannot be read"):
        list(iterate_sink(tmp_path / "none.jsonl"))


async def test_a_closed_sink_refuses_to_append(tmp_path: Path) -> None:
    sink = await JsonlPreferenceSink.open(tmp_path / "pairs.jsonl")
    await sink.close()
    await sink.close()
    with pytest.raises(StoreError, match="is closed"):
        await sink.append(PAIRS)


class FullDisk:
    """Writes some bytes, then fails; stands in for a stream."""

    def __init__(self, stream: object, room: int, *, locked: bool) -> None:
        self._stream = stream
        self.room = room
        self.locked = locked

    def write(self, content: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(len(content), self.room, 100)
        self.room -= taken
        return self._stream.write(content[:taken])

    def truncate(self, size: int) -> None:
        if self.locked:
            raise OSError(errno.EIO, "Input/output error")
        self._stream.truncate(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


async def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    whole = await written(tmp_path / "whole.jsonl")
    async with await JsonlPreferenceSink.open(file) as sink:
        await sink.append(PAIRS[:2])
        before = file.read_bytes()
        disk = FullDisk(sink._stream, 750, locked=False)
        sink._stream = disk
        with pytest.raises(StoreError, match="No space left"):
            await sink.append(PAIRS)
        assert file.read_bytes() == before
        assert await sink.all() == PAIRS[:2]
        # There is room again: no pair counts as kept that was not.
        disk.room = 10**9
        assert await sink.append(PAIRS) == 4
    assert file.read_bytes() == whole


async def test_nothing_is_written_after_a_partial_line(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    async with await JsonlPreferenceSink.open(file) as sink:
        disk = FullDisk(sink._stream, 750, locked=True)
        sink._stream = disk
        with pytest.raises(StoreError, match="cannot be written"):
            await sink.append(PAIRS)
        disk.room, disk.locked = 10**9, False
        with pytest.raises(StoreError, match="open it again"):
            await sink.append(PAIRS)
    async with opened(file) as again:
        await again.append(PAIRS)
    assert list(iterate_sink(file)) == PAIRS


async def test_a_pair_too_large_to_be_read_again_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    large = numbered_pair(7, user_id="u" * 5_000_000)
    async with opened(file) as sink:
        with pytest.raises(StoreError, match="larger than"):
            await sink.append([*PAIRS, large])
        assert await sink.append(PAIRS) == len(PAIRS)


async def test_nothing_blocks_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops, synced = threading.get_ident(), []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(threading.get_ident()), fsync(fd)))
    await written(tmp_path / "pairs.jsonl")
    # The file, and the folder that its name is in.
    assert len(synced) == 2
    assert loops not in synced
