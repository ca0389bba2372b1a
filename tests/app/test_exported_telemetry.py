"""A command under `opentelemetry-instrument` exports all spans and metrics before it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from app.batch_runs import planted_test_sessions, write_sessions
from app.conftest import FinishedRun
from app.otlp_collector import collecting, exported

from agentrec.testing.planted_sessions import PlantedSessions


@pytest.mark.parametrize(("bad", "code"), [((), 0), (("{",), 3)])
def test_a_batch_exports_every_session_and_call_before_it_ends(
    bad: tuple[str, ...],
    code: int,
    finished: FinishedRun,
    planted: PlantedSessions,
    tmp_path: Path,
) -> None:
    source = write_sessions(tmp_path / "sessions.jsonl", planted_test_sessions(planted)[:6], *bad)
    given = ["batch", str(source), "--out", str(tmp_path / "out"), "--run", str(finished.folder)]
    with collecting() as collector:
        done = exported(collector, *given)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    assert collector.spans.pop("agentrec.session") == 6
    (calls,) = collector.spans.values()
    assert next(iter(collector.spans)).startswith("chat ")
    assert collector.count("agentrec.session.duration") == 6
    assert collector.count("gen_ai.client.operation.duration") == calls >= 6
