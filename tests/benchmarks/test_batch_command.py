"""How well `agentrec batch` uses an endpoint: 64 calls at a time, 0.5 s each. Under 40 seconds.

Efficiency is the ideal time of full waves, ``ceil(sessions / calls) * latency``, divided by the
time from the endpoint's first request to its last answer.

``AGENTREC_BENCH_SESSIONS`` is the number of sessions (2,000).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.paced_endpoint import PacedEndpoint
from benchmarks.recommending_parts import load
from benchmarks.small_runs import environment_of, make_run, write_sessions

SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "2000"))
CONCURRENCY, LATENCY = 64, 0.5


@pytest.mark.bench
def test_efficiency_of_the_command(tmp_path: Path) -> None:
    ideal = math.ceil(SESSIONS / CONCURRENCY) * LATENCY
    print(f"\n{SESSIONS} sessions, {CONCURRENCY} calls at a time, {LATENCY} s each: {ideal:.1f} s")
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        run = make_run(tmp_path, environment)
        port = endpoint.port
    source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
    out = tmp_path / "out"
    with PacedEndpoint(LATENCY, port=port) as endpoint:
        wall, cpu = run_command(
            *(environment, "batch", source, "--out", out, "--run", run, "--format", "jsonl"),
            *("--concurrency", CONCURRENCY),
        )
        seen = endpoint.stats()
    working = seen["last"] - seen["first"] + LATENCY
    print(
        f"efficiency {ideal / working:.3f}; {wall:.1f} s in all, of it {working:.1f} s of calls; "
        f"{1000 * cpu / SESSIONS:.2f} ms CPU per session, start included; {load()}"
    )
    assert seen["requests"] == SESSIONS
    assert seen["most_in_flight"] <= CONCURRENCY
    assert json.loads((out / "summary.json").read_text())["done"] == SESSIONS


def run_command(environment: dict[str, str], *arguments: object) -> tuple[float, float]:
    """Run `agentrec`; seconds that passed and seconds of CPU."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("agentrec"), *map(str, arguments)],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, used.ru_utime + used.ru_stime
