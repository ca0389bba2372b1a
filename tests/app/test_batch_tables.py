from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentrec.app.cli.batch import print_summary
from agentrec.batch.run_batch import BatchSummary
from agentrec.llm.cost.usage import NodeUsage


def printed(**changes: Any) -> str:
    told = {
        "done": 3,
        "failed": {},
        "rejected": {},
        "attempted": 3,
        "seconds": 2.0,
        "latency": {"p50": 0.5, "p90": 0.75, "p99": 1.25},
        "usage": asdict(NodeUsage()),
        "currency": "",
    }
    console = Console(file=io.StringIO(), width=200)
    print_summary(BatchSummary.model_validate(told | changes), Path("out"), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_how_long_sessions_with_a_result_took_is_told() -> None:
    told = printed()
    took = "took p50 0.50 s, p90 0.75 s, p99 1.25 s, its wait for a call counted"
    assert f"This time 3 in 2.0 s (1.5/s); one with a result {took}" in told


@pytest.mark.parametrize("attempted", [0, 2])
def test_of_no_result_no_time_is_told(attempted: int) -> None:
    told = printed(done=0, failed={"unreachable": 2}, attempted=attempted, latency={})
    assert "took" not in told
    assert ("This time 2 in 2.0 s (1.0/s)\n" in told) == bool(attempted)
    assert "2 unreachable" in told
