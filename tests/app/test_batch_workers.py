"""A batch by Ray actors: the same results as in one process, even if an actor is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from app.batch_runs import many_planted_sessions, rankings, run, write_sessions
from app.conftest import HttpRun
from app.otlp_collector import collecting, exported
from app.preference_runs import Settings

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.testing.openai_server import ChatRequest, OpenAIServer, Reply
from agentrec.testing.planted_sessions import PlantedSessions


class CountingServer(OpenAIServer):
    """Notes the largest number of requests in flight."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._counting = threading.Lock()
        self._in_flight = 0
        self.most_in_flight = 0

    def reply(self, request: ChatRequest) -> Reply:
        with self._counting:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            return super().reply(request)
        finally:
            with self._counting:
                self._in_flight -= 1


def logged(out: Path) -> list[int]:
    """How many sessions the log of each partition holds by now."""
    counts = []
    for log in out.glob("partitions/*/sessions.sqlite"):
        with (
            closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection,
            suppress(sqlite3.OperationalError),  # The file is being created.
        ):
            counts.append(connection.execute("SELECT COUNT(*) FROM sessions").fetchone()[0])
    return counts


def actors_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(child.cmdline()).startswith("ray::PartitionActor"):
                found.append(child)
    return found


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.filterwarnings("default")
def test_an_actor_is_killed_then_all_are_stopped_and_each_session_has_one_result(
    settings_for: Settings,
    http_run: HttpRun,
    embedded: CatalogChatModel,
    planted: PlantedSessions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = many_planted_sessions(planted)
    source = write_sessions(tmp_path / "sessions.jsonl", sessions)
    out, alone = tmp_path / "out", tmp_path / "alone"
    arguments = ["batch", str(source), "--out", str(out), "--run", str(http_run.folder)]
    arguments += ["--format", "jsonl", "--concurrency", "4", "--workers", "2"]
    agentrec = str(Path(sys.executable).with_name("agentrec"))
    # So slow that actors can be met at work.
    with CountingServer(embedded, latency=0.2, port=http_run.port) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "unused")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        started = subprocess.Popen(
            [agentrec, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        wait_until(lambda: sum(count >= 2 for count in logged(out)) == 2, started)
        first, second = actors_of(started)
        first.kill()
        before = sum(logged(out))
        # Another one takes over, and finds what was done.
        wait_until(lambda: sum(logged(out)) >= before + 10, started)
        wait_until(lambda: len(actors_of(started)) == 2, started)
        started.send_signal(signal.SIGINT)
        _, message = started.communicate(timeout=60)
        assert (started.returncode, "Traceback" in message) == (130, False), message
        assert not second.is_running()
        stopped = rankings(out)
        assert 14 <= len(stopped) < len(sessions)

        with collecting() as collector:
            ended = exported(collector, *arguments)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        # Before the command ends, its workers have exported what they measured.
        assert collector.spans["agentrec.session"] == len(sessions) - len(stopped)
        assert collector.count("agentrec.session.duration") == len(sessions) - len(stopped)
        # The two share the calls that may be in flight.
        assert 2 < server.most_in_flight <= 4
        asked = [str(messages) for messages in server.asked]
        # Calls in flight when one was killed or all were stopped were made again; each partition
        # asks once whether the model supports structured output.
        assert len(asked) - len(set(asked)) <= 2 + 4 + 1
        run(settings_for(http_run.folder, llm="openai:local"), source, alone)
    by_workers = rankings(out)
    assert len(by_workers) == len(sessions)
    assert all(row in by_workers for row in stopped)
    assert by_workers == rankings(alone)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["done"] == len(sessions)
    assert summary["usage"]["calls"] >= len(sessions)
