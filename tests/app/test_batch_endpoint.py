"""A batch against an endpoint at which three calls in ten go wrong, and one that is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from app.batch_runs import many_of_planted, results, run, written
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
    """As many as make something go wrong in every way."""
    return many_of_planted(planted)


@pytest.fixture
def source(sessions: list[Session], tmp_path: Path) -> Path:
    return written(tmp_path / "sessions.jsonl", sessions)


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
        items = row["items"]
        assert isinstance(items, list)
        assert len(set(items)) == len(items) == 10
        assert set(items) <= candidates[str(row["session_id"])]
    assert summary.done + sum(summary.failed.values()) == len(sessions)
    assert 0 < sum(summary.failed.values()) < len(sessions) / 2
    known = {"rate_limited", "timed_out", "malformed", "unreachable", "refused", "failed"}
    assert set(summary.failed) <= known
    with OpenAIServer(embedded, port=http_run.port) as server:
        settings = settings_at(server)
        finished = run(settings, source, out, retry_failed=True)
        # What was answered the first time is not asked again.
        assert server.requests <= 2 * sum(summary.failed.values())
    assert finished.is_clean
    ids = [str(row["session_id"]) for row in results(out)]
    assert sorted(ids) == sorted(one.session_id for one in sessions)


def test_what_the_run_learnt_of_its_model_is_not_asked_again(
    settings_at: SettingsAt,
    http_run: HttpRun,
    embedded: CatalogChatModel,
    source: Path,
    tmp_path: Path,
) -> None:
    assert PROBE_QUESTION in http_run.asked
    with OpenAIServer(embedded, port=http_run.port) as server:
        assert run(settings_at(server), source, tmp_path / "out").is_clean
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
            _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Stopped. Run the same command again" in told
        some = results(out)
        assert 0 < len(some) < len(sessions)
        asked = server.requests
        summary = run(settings, source, out)
        assert summary.is_clean
        # But for the two that were on their way.
        assert server.requests - asked <= len(sessions) - len(some) + 2
    ids = [str(row["session_id"]) for row in results(out)]
    assert sorted(ids) == sorted(one.session_id for one in sessions)
