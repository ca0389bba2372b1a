"""A batch by Ray actors beside one process: rate, efficiency, and what the loss of an actor costs.

``AGENTREC_BENCH_SESSIONS`` is the number of sessions (2,000).
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from benchmarks.paced_endpoint import PacedEndpoint
from benchmarks.recommending_parts import load
from benchmarks.small_runs import environment_of, make_run, settings_of, write_sessions

from agentrec.batch.partitions import BatchOptions, partitions
from agentrec.batch.worker import PartitionTask

SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "2000"))
WAYS = {"one process": [], "--workers 2": ["--workers", "2"]}

pytestmark = [pytest.mark.bench, pytest.mark.enable_socket]


def command(source: Path, out: Path, run: Path, concurrency: int, way: str) -> list[str]:
    agentrec = str(Path(sys.executable).with_name("agentrec"))
    given = [agentrec, "batch", str(source), "--out", str(out), "--run", str(run)]
    return [*given, "--format", "jsonl", "--concurrency", str(concurrency), *WAYS[way]]


def rankings(out: Path) -> list[dict[str, object]]:
    """Results in the order of the input, without the times."""
    rows = [
        json.loads(line)
        for file in out.glob("results/part-*")
        for line in file.read_text().splitlines()
    ]
    kept = [{name: row[name] for name in row if name != "seconds"} for row in rows]
    return sorted(kept, key=lambda row: int(row["row_index"]))


@pytest.mark.parametrize(("concurrency", "latency"), [(64, 0.0), (64, 0.5), (256, 2.0)])
def test_rate_and_efficiency(concurrency: int, latency: float, tmp_path: Path) -> None:
    """From the endpoint's first request to its last answer, and for the whole command."""
    ideal = math.ceil(SESSIONS / concurrency) * latency
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        run = make_run(tmp_path, environment)
        port = endpoint.port
    source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
    print(f"\n{SESSIONS} sessions, {concurrency} calls at a time, {latency:g} s: {ideal:.1f} s")
    found = []
    for way in WAYS:
        out = tmp_path / way.replace(" ", "_")
        with PacedEndpoint(latency, port=port) as endpoint:
            start = time.perf_counter()
            subprocess.run(command(source, out, run, concurrency, way), env=environment, check=True)
            wall = time.perf_counter() - start
            seen = endpoint.stats()
        working = seen["last"] - seen["first"] + latency
        print(
            f"{way:12} {SESSIONS / working:6.0f} sessions/s, efficiency {ideal / working:.3f}, "
            f"{wall - working:.1f} s to start and end, most in flight "
            f"{seen['most_in_flight']:.0f}; {load()}"
        )
        assert seen["requests"] == SESSIONS
        assert seen["most_in_flight"] <= concurrency
        found.append(rankings(out))
    assert len(found[0]) == SESSIONS
    assert found[0] == found[1]


def test_the_loss_of_actors_costs_no_result(tmp_path: Path) -> None:
    kills, concurrency = 3, 16
    with PacedEndpoint(0.2) as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        run = make_run(tmp_path, environment)
        source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
        alone, out = tmp_path / "alone", tmp_path / "out"
        in_one = command(source, alone, run, concurrency, "one process")
        subprocess.run(in_one, env=environment, check=True)
        before = endpoint.stats()["requests"]
        by_two = command(source, out, run, concurrency, "--workers 2")
        process = subprocess.Popen(by_two, env=environment)
        killed = 0
        while process.poll() is None:
            if killed < kills and logged(out) >= (killed + 1) * SESSIONS // (2 * kills):
                killed += kill_an_actor(process)
            time.sleep(0.2)
        calls = endpoint.stats()["requests"] - before
    rows = rankings(out)
    print(f"\n{killed} actors killed; {SESSIONS} sessions, {calls:.0f} calls; {load()}")
    assert (killed, process.returncode) == (kills, 0)
    assert rows == rankings(alone)
    # Calls in flight when an actor was killed, and a question per process about what is possible.
    assert calls <= SESSIONS + kills * concurrency // 2 + 2 + kills


def logged(out: Path) -> int:
    """How many sessions the logs of all partitions hold by now."""
    count = 0
    for log in out.glob("partitions/*/sessions.sqlite"):
        with (
            closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection,
            suppress(sqlite3.OperationalError),  # The file is being created.
        ):
            count += connection.execute("SELECT COUNT(*) FROM sessions").fetchone()[0]
    return count


def kill_an_actor(process: subprocess.Popen[bytes]) -> bool:
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(child.cmdline()).startswith("ray::PartitionActor"):
                child.kill()
                return True
    return False


USERS_CLUSTER = """
import asyncio, sys, ray
from agentrec.batch.ray_engine import RayEngine
from agentrec.batch.worker import PartitionTask
from agentrec.errors import InputError

tasks = [PartitionTask.model_validate_json(line) for line in sys.stdin]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
try:
    asyncio.run(RayEngine(1).run(tasks))
except InputError as error:
    print("failed with", error)
print("up" if ray.is_initialized() else "down")
ray.shutdown()
"""


def test_a_users_cluster_outlives_a_partition_that_fails(tmp_path: Path) -> None:
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        make_run(tmp_path, environment)
        (tmp_path / "out").mkdir()
        missing = BatchOptions(sessions=tmp_path / "none.jsonl", out=tmp_path / "out")
        tasks = [
            PartitionTask(settings=settings_of(tmp_path), options=missing, partition=partition)
            for partition in partitions(2)
        ]
        used = subprocess.run(
            [sys.executable, "-c", USERS_CLUSTER],
            input="".join(f"{task.model_dump_json()}\n" for task in tasks),
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert used.returncode == 0, used.stderr
    failed, state = used.stdout.splitlines()[-2:]
    assert failed.startswith("failed with")
    assert "none.jsonl: " in failed
    assert "No such file" in failed
    assert state == "up"
