"""A batch against an endpoint where three calls in ten fail, and a batch that is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from app.batch_runs import many_planted_sessions, rankings, results, run, write_sessions
from app.conftest import HttpRun
from app.preference_runs import Settings

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.llm.gateway.structured_output import PROBE_QUESTION
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.faulty_server import FaultPlan, FaultyServer
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.planted_sessions import PlantedSessions


@pytest.fixture(scope="module")
def sessions(planted: PlantedSessions) -> list[Session]:
    """Enough for every kind of fault."""
    return many_planted_sessions(planted)


@pytest.fixture
def source(sessions: list[Session], tmp_path: Path) -> Path:
    return write_sessions(tmp_path / "sessions.jsonl", sessions)


SettingsAt = Callable[..., RunSettings]


@pytest.fixture
def settings_at(
    http_run: HttpRun, settings_for: Settings, monkeypatch: pytest.MonkeyPatch
) -> SettingsAt:
    """Settings of the run, its model at the address of a server."""
    monkeypatch.setenv("OPENAI_API_KEY", "unused")

    def made(server: OpenAIServer, timeout: float = 60.0, **changes: object) -> RunSettings:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        llm = {"name": "openai:local", "timeout": timeout}
        return settings_for(http_run.folder, llm=llm, **changes)

    return made


def test_every_session_ends_in_a_ranking_or_a_typed_failure(
    settings_at: SettingsAt,
    http_run: HttpRun,
    embedded: CatalogChatModel,
    sessions: list[Session],
    source: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    retries = {"max_attempts": 2, "first_wait": 0.02, "longest_wait": 0.1}
    with FaultyServer(embedded, FaultPlan(share=0.3), port=http_run.port) as server:
        settings = settings_at(server, timeout=1.5, retries=retries)
        summary = run(settings, source, out)
        assert len(server.faults) == 8
    candidates = {one.session_id: set(one.candidates) for one in sessions}
    for row in results(out):
        assert len(set(row["items"])) == len(row["items"]) == 10
        assert set(row["items"]) <= candidates[row["session_id"]]
    assert summary.done + sum(summary.failed.values()) == len(sessions)
    assert 0 < sum(summary.failed.values()) < len(sessions) / 2
    known = {"rate_limited", "timed_out", "malformed", "unreachable", "refused", "failed"}
    assert set(summary.failed) <= known
    with OpenAIServer(embedded, port=http_run.port) as server:
        settings = settings_at(server)
        finished = run(settings, source, out, retry_failed=True)
        # What was answered the first time is not asked again.
        assert server.requests <= 2 * sum(summary.failed.values())
    assert finished.is_complete
    assert len(rankings(out)) == len(sessions)


def test_what_the_run_learnt_of_its_model_is_not_asked_again(
    settings_at: SettingsAt,
    http_run: HttpRun,
    embedded: CatalogChatModel,
    source: Path,
    tmp_path: Path,
) -> None:
    assert PROBE_QUESTION in http_run.asked
    with OpenAIServer(embedded, port=http_run.port) as server:
        assert run(settings_at(server), source, tmp_path / "out").is_complete
        assert PROBE_QUESTION not in {asked[-1].text for asked in server.asked}


def test_ctrl_c_leaves_valid_output_and_the_same_goes_on(
    settings_at: SettingsAt,
    http_run: HttpRun,
    embedded: CatalogChatModel,
    sessions: list[Session],
    source: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    given = ["batch", str(source), "--out", str(out), "--run", str(http_run.folder)]
    with OpenAIServer(embedded, latency=0.05, port=http_run.port) as server:
        settings = settings_at(server)
        agentrec = str(Path(sys.executable).with_name("agentrec"))
        command = [agentrec, *given, "--format", "jsonl", "--concurrency", "2"]
        with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE) as process:
            while server.requests < 5 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, message = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Stopped. Run the same command again" in message
        some = results(out)
        assert 0 < len(some) < len(sessions)
        asked = server.requests
        summary = run(settings, source, out)
        assert summary.is_complete
        # Only the two calls in flight were made again.
        assert server.requests - asked <= len(sessions) - len(some) + 2
    assert len(rankings(out)) == len(sessions)
