"""The command `agentrec batch`: its exit codes, what it refuses, and what it prints."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from app.batch_runs import planted_test_sessions, write_sessions
from app.conftest import FinishedRun
from rich.console import Console
from typer.testing import CliRunner

from agentrec.app.cli.batch import print_summary
from agentrec.app.cli.main import app
from agentrec.batch.run_batch import BatchSummary
from agentrec.llm.cost.usage import NodeUsage
from agentrec.testing.planted_sessions import PlantedSessions


@pytest.fixture
def source(planted: PlantedSessions, tmp_path: Path) -> Path:
    return write_sessions(tmp_path / "sessions.jsonl", planted_test_sessions(planted)[:4])


def test_the_command_reports_and_ends_with_the_right_code(
    finished: FinishedRun, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ["batch", str(source), "--out", str(out), "--run", str(finished.folder)]
    runner = CliRunner()
    planned = runner.invoke(app, [*given, "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert "Nothing was asked" in planned.output
    assert not out.exists()
    done = runner.invoke(app, [*given, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["done"] == 4
    source.write_text(source.read_text() + "{\n")
    incomplete = runner.invoke(app, given)
    assert incomplete.exit_code == 3, incomplete.output
    assert "Rejected rows: 1 not_json" in incomplete.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "nowhere"], "there is no run here"),
        (["--format", "xml"], "'xml' is not parquet or jsonl"),
        (["--time-limit", "0"], "must be above 0"),
        (["--engine", "local", "--workers", "2"], "leave --engine out to use Ray"),
        (["--workers", "2"], "several workers need Ray"),
        (["no.jsonl"], "is missing"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_nothing_behind(
    arguments: list[str],
    message: str,
    source: Path,
    finished: FinishedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentrec.batch.ray_engine.find_spec", lambda name: None)
    out = tmp_path / "out"
    file = [] if arguments == ["no.jsonl"] else [str(source)]
    given = ["batch", *file, "--out", str(out), "--run", str(finished.folder), *arguments]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            [
                "Sessions with a result: 3 (out/results)",
                "This attempt: 3 sessions in 2.0 s (1.5/s)",
                "Seconds per session, waiting included: p50 0.50, p90 0.75, p99 1.25",
            ],
        ),
        (
            {"done": 0, "failed": {"unreachable": 2}, "attempted": 2, "latency": {}},
            [
                "Sessions with a result: 0 (out/results)",
                "Failed sessions: 2 unreachable (out/failures.jsonl); --retry-failed tries them"
                " again",
                "This attempt: 2 sessions in 2.0 s (1.0/s)",
            ],
        ),
        (
            {"attempted": 0, "latency": {}, "rejected": {"not_json": 1, "wrong_type": 1200}},
            [
                "Sessions with a result: 3 (out/results)",
                "Rejected rows: 1,200 wrong_type, 1 not_json (out/rejected.jsonl)",
            ],
        ),
    ],
)
def test_the_summary_for_people(changes: dict[str, Any], expected: list[str]) -> None:
    fields = {
        "done": 3,
        "failed": {},
        "rejected": {},
        "attempted": 3,
        "seconds": 2.0,
        "latency": {"p50": 0.5, "p90": 0.75, "p99": 1.25},
        "usage": asdict(NodeUsage()),
        "currency": "",
    }
    output = io.StringIO()
    summary = BatchSummary.model_validate(fields | changes)
    print_summary(summary, Path("out"), Console(file=output, width=200))
    assert output.getvalue().splitlines() == expected
