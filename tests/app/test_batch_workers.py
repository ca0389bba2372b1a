"""A batch by several processes: the same results, whoever of them dies or is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from agentrec.app.batch.processes import WorkerProcesses
from app.batch_runs import many_of_planted, results, run, written
from app.conftest import HttpRun
from app.preference_runs import Settings

from agentrec.batch.budget_split import WorkerError
from agentrec.batch.partitions import BatchOptions, partitions
from agentrec.batch.worker import PartitionTask
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.errors import InputError
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.chat_completions import ChatRequest
from agentrec.testing.openai_server import OpenAIServer, Reply
from agentrec.testing.planted_sessions import PlantedSessions


@pytest.fixture
def sessions(planted: PlantedSessions) -> list[Session]:
    return many_of_planted(planted)


@pytest.fixture
def source(sessions: list[Session], tmp_path: Path) -> Path:
    return written(tmp_path / "sessions.jsonl", sessions)


class CountingServer(OpenAIServer):
    """Counts how many requests there were at a time, at most."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._counting = threading.Lock()
        self._at_once = 0
        self.most_at_once = 0

    def reply(self, request: ChatRequest) -> Reply:
        with self._counting:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return super().reply(request)
        finally:
            with self._counting:
                self._at_once -= 1


@pytest.fixture
def server(
    http_run: HttpRun, embedded: CatalogChatModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CountingServer]:
    """So slow that processes can be met at work."""
    with CountingServer(embedded, latency=0.3, port=http_run.port) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "unused")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server


def rankings(out: Path) -> dict[object, object]:
    rows = results(out)
    by_id = {row["session_id"]: (row["place"], row["items"], row["hint_id"]) for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def command(http_run: HttpRun, source: Path, out: Path, *more: str) -> list[str]:
    agentrec = str(Path(sys.executable).with_name("agentrec"))
    told = [agentrec, "batch", str(source), "--out", str(out), "--run", str(http_run.folder)]
    return [*told, "--format", "jsonl", "--concurrency", "4", *more]


def kept(out: Path) -> int:
    """Sessions that logs of parts hold by now."""
    count = 0
    for log in out.glob("partitions/*/sessions.sqlite"):
        connection = sqlite3.connect(f"file:{log}?mode=ro", uri=True)
        try:
            count += connection.execute("SELECT COUNT(*) FROM sessions").fetchone()[0]
        except sqlite3.OperationalError:
            pass  # It is being made.
        finally:
            connection.close()
    return count


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_one_is_killed_all_are_stopped_and_each_session_has_one_result(
    settings_for: Settings,
    http_run: HttpRun,
    server: OpenAIServer,
    sessions: list[Session],
    source: Path,
    tmp_path: Path,
) -> None:
    out, alone = tmp_path / "out", tmp_path / "alone"
    two = command(http_run, source, out, "--workers", "2")

    begun = subprocess.Popen(two, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: kept(out) >= 5, begun)
    first, second = psutil.Process(begun.pid).children()
    first.kill()
    before = kept(out)
    # Another one takes its place, and finds what was done.
    wait_for(lambda: kept(out) >= before + 10, begun)
    assert len(psutil.Process(begun.pid).children()) == 2
    begun.send_signal(signal.SIGINT)
    begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert not second.is_running()
    stopped = rankings(out)
    assert 15 <= len(stopped) < len(sessions)

    ended = subprocess.run(two, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    by_workers = rankings(out)
    assert len(by_workers) == len(sessions)
    assert stopped.items() <= by_workers.items()
    asked = [str(messages) for messages in server.asked]
    # What was on its way when one was killed or all were stopped, and nothing whose answer was
    # kept. Each part asks once whether the model can fit a schema.
    assert len(asked) - len(set(asked)) <= 2 + 4 + 1
    summary = json.loads((out / "summary.json").read_text())
    assert summary["done"] == len(sessions)
    assert summary["usage"]["calls"] >= len(sessions)

    settings = settings_for(http_run.folder, llm="openai:local")
    run(settings, source, alone)
    assert by_workers == rankings(alone)


def actors_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those of Ray that work on parts for a command."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(child.cmdline()).startswith("ray::MapWorker"):
                found.append(child)
    return found


@pytest.mark.filterwarnings("default")
def test_ray_comes_to_the_same(
    settings_for: Settings,
    http_run: HttpRun,
    server: CountingServer,
    sessions: list[Session],
    source: Path,
    tmp_path: Path,
) -> None:
    out, alone = tmp_path / "out", tmp_path / "alone"
    by_ray = command(http_run, source, out, "--engine", "ray", "--workers", "2")
    begun = subprocess.Popen(by_ray, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(actors_of(begun)) == 2, begun)
    _, told = begun.communicate(timeout=240)
    assert begun.returncode == 0, told
    # The two share what may be asked at a time.
    assert 2 < server.most_at_once <= 4
    run(settings_for(http_run.folder, llm="openai:local"), source, alone)
    assert len(rankings(out)) == len(sessions)
    assert rankings(out) == rankings(alone)


async def test_what_a_process_fails_with_is_told_as_here(
    settings_for: Settings, http_run: HttpRun, server: OpenAIServer, source: Path, tmp_path: Path
) -> None:
    settings: RunSettings = settings_for(http_run.folder, llm="openai:local")
    missing = BatchOptions(sessions=tmp_path / "none.jsonl", out=tmp_path / "out", form="jsonl")
    tasks = [
        PartitionTask(settings=settings, options=missing, partition=partition)
        for partition in partitions(2)
    ]
    engine = WorkerProcesses(1, tmp_path / "logs")
    with pytest.raises(InputError, match=r"none\.jsonl: .*No such file"):
        await asyncio.wait_for(engine.run(tasks), 240)


async def test_a_process_that_cannot_live_is_given_up(
    settings_for: Settings,
    http_run: HttpRun,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings: RunSettings = settings_for(http_run.folder, llm="openai:local")
    options = BatchOptions(sessions=source, out=tmp_path / "out", form="jsonl")
    # Whatever keeps Python from running the program: nothing comes back from it.
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    engine = WorkerProcesses(2, tmp_path / "logs")
    with pytest.raises(WorkerError, match=r"ended 3 times with nothing done.*worker-0\.log"):
        await engine.run([PartitionTask(settings=settings, options=options)])
    assert (tmp_path / "logs" / "worker-0.log").stat().st_size
    assert "PYTHONHOME" in os.environ
