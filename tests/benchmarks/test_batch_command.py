"""How well `agentrec batch` uses an endpoint: 64 calls at a time, 0.5 s each. Under 40 seconds.

Efficiency is the ideal time of full waves, ``ceil(sessions / calls) * latency``, divided by the
time from the endpoint's first request to its last answer.

``AGENTREC_BENCH_CHECKOUTS`` names checkouts to compare, separated by ``:`` (this one).
``AGENTREC_BENCH_ROUNDS`` is how often they take turns (1), ``AGENTREC_BENCH_SESSIONS`` the number
of sessions (2,000).
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
from benchmarks.small_runs import environment_of, write_sessions

from agentrec.testing.planted_sessions import write_planted_sessions

SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "2000"))
ROUNDS = int(os.environ.get("AGENTREC_BENCH_ROUNDS", "1"))
CHECKOUTS = os.environ.get("AGENTREC_BENCH_CHECKOUTS", str(Path(__file__).parents[2]))
CONCURRENCY, LATENCY = 64, 0.5
FEW_HINTS = """
backbone: null
max_hints: 2
max_explored: 4
max_rewarded: 10
num_probes: 2
"""


@pytest.mark.bench
def test_efficiency_of_the_command(tmp_path: Path) -> None:
    ideal = math.ceil(SESSIONS / CONCURRENCY) * LATENCY
    checkouts = CHECKOUTS.split(os.pathsep)
    write_planted_sessions(tmp_path / "data", num_items=60, num_train=60, num_valid=16, num_test=40)
    source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
    print(f"\n{SESSIONS} sessions, {CONCURRENCY} calls at a time, {LATENCY} s each: {ideal:.1f} s")
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        port = endpoint.port
        for number, checkout in enumerate(checkouts):
            run_command(checkout, environment, *demo(tmp_path, tmp_path / f"run-{number}"))
    for turn in range(ROUNDS):
        for number, checkout in enumerate(checkouts):
            out = tmp_path / f"out-{number}-{turn}"
            with PacedEndpoint(LATENCY, port=port) as endpoint:
                wall, cpu = run_command(
                    *(checkout, environment, "batch", source, "--out", out),
                    *("--run", tmp_path / f"run-{number}", "--format", "jsonl"),
                    *("--concurrency", CONCURRENCY),
                )
                seen = endpoint.stats()
            working = seen["last"] - seen["first"] + LATENCY
            print(
                f"{checkout}: efficiency {ideal / working:.3f}; {wall:.1f} s in all, of it "
                f"{working:.1f} s of calls; {1000 * cpu / SESSIONS:.2f} ms CPU per session, "
                f"start included; {load()}"
            )
            assert seen["requests"] == SESSIONS
            assert seen["most_in_flight"] <= CONCURRENCY
            assert json.loads((out / "summary.json").read_text())["done"] == SESSIONS


def demo(folder: Path, run: Path) -> list[object]:
    settings = folder / "few_hints.yaml"
    settings.write_text(FEW_HINTS)
    given = ["demo", "--data", folder / "data", "--run", run, "--config", settings]
    return [*given, "--embeddings", "hashed", "--llm", "openai:local"]


def run_command(
    checkout: str, environment: dict[str, str], *arguments: object
) -> tuple[float, float]:
    """Run `agentrec` as it is in a checkout; seconds that passed and seconds of CPU."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("agentrec"), *map(str, arguments)],
        env=environment | {"PYTHONPATH": checkout},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, used.ru_utime + used.ru_stime
