"""What several processes bring a batch, what they cost to start, and what the loss of one costs.

The model answers over HTTP at once. ``AGENTREC_BENCH_SESSIONS`` is the size of the larger of two
batches (2,000); the smaller one is a fourth of it. Rate and start-up are those of the line through
both: what it takes to begin and to end counts as start-up.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from benchmarks.paced_endpoint import PacedEndpoint
from benchmarks.recommending_parts import load
from benchmarks.small_runs import environment_of, make_run, settings_of, write_sessions

from agentrec.batch.partitions import BatchOptions, partitions
from agentrec.batch.worker import PartitionTask

SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "2000"))
CONCURRENCY = 64
WAYS = {
    "one process": [],
    "--workers 2": ["--workers", "2"],
    "--engine ray --workers 2": ["--engine", "ray", "--workers", "2"],
}

pytestmark = [pytest.mark.bench, pytest.mark.enable_socket]


def command(source: Path, out: Path, run: Path, concurrency: int, way: list[str]) -> list[str]:
    agentrec = str(Path(sys.executable).with_name("agentrec"))
    told = [agentrec, "batch", str(source), "--out", str(out), "--run", str(run)]
    return [*told, "--format", "jsonl", "--concurrency", str(concurrency), *way]


def rows_of(out: Path) -> list[dict[str, object]]:
    """Results in the order of the input, but for what another run takes another time for."""
    rows = [
        json.loads(line)
        for file in out.glob("results/part-*")
        for line in file.read_text().splitlines()
    ]
    kept = [{name: row[name] for name in row if name != "seconds"} for row in rows]
    return sorted(kept, key=lambda row: int(row["place"]))


def test_what_several_processes_bring(tmp_path: Path) -> None:
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        run = make_run(tmp_path, environment)
        sizes = (SESSIONS // 4, SESSIONS)
        found: dict[str, list[dict[str, object]]] = {}
        print(f"\n{sizes[0]} and {sizes[1]} sessions, {CONCURRENCY} at a time; {load()}")
        for name, way in WAYS.items():
            taken = []
            for size in sizes:
                source = write_sessions(tmp_path / f"{size}.jsonl", tmp_path, size)
                out = tmp_path / f"{name}-{size}".replace(" ", "_")
                begun = time.perf_counter()
                subprocess.run(
                    command(source, out, run, CONCURRENCY, way), env=environment, check=True
                )
                taken.append(time.perf_counter() - begun)
                found[name] = rows_of(out)
            each = (taken[1] - taken[0]) / (sizes[1] - sizes[0])
            print(
                f"{name:26} {1 / each:6.0f} sessions/s, {taken[0] - sizes[0] * each:5.1f} s to "
                f"begin and end; {load()}"
            )
            assert len(found[name]) == sizes[1]
    assert all(rows == found["one process"] for rows in found.values())


@pytest.mark.parametrize(("concurrency", "latency"), [(256, 2.0), (64, 0.5)])
def test_share_of_the_ideal(concurrency: int, latency: float, tmp_path: Path) -> None:
    """Beside the whole command its working phase, from the endpoint's first request to the last."""
    ideal = math.ceil(SESSIONS / concurrency) * latency
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        run = make_run(tmp_path, environment)
        port = endpoint.port
    source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
    print(
        f"\n{SESSIONS} sessions, {concurrency} at a time, {latency:g} s each: ideal {ideal:.1f} s"
    )
    for name, way in WAYS.items():
        out = tmp_path / name.replace(" ", "_")
        with PacedEndpoint(latency, port=port) as endpoint:
            begun = time.perf_counter()
            subprocess.run(command(source, out, run, concurrency, way), env=environment, check=True)
            wall = time.perf_counter() - begun
            seen = endpoint.stats()
        working = seen["last"] - seen["first"] + latency
        print(
            f"{name:26} {wall:6.2f} s; at work {working:6.2f} s, efficiency {ideal / working:.3f}; "
            f"most in flight {seen['most_in_flight']:.0f}, {seen['requests']:.0f} calls; {load()}"
        )
        assert seen["requests"] == SESSIONS
        assert seen["most_in_flight"] <= concurrency
        assert len(rows_of(out)) == SESSIONS


@pytest.mark.parametrize("way", list(WAYS)[1:])
def test_the_loss_of_one_costs_no_result(way: str, tmp_path: Path) -> None:
    kills, at_once = 3, 16
    with PacedEndpoint(0.2) as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        run = make_run(tmp_path, environment)
        source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
        alone = tmp_path / "alone"
        subprocess.run(command(source, alone, run, at_once, []), env=environment, check=True)
        before, out = endpoint.stats()["requests"], tmp_path / "out"
        process = subprocess.Popen(command(source, out, run, at_once, WAYS[way]), env=environment)
        killed = 0
        while process.poll() is None:
            done = sum(
                json.loads(file.read_text())["done"] for file in out.glob("*/*/standing.json")
            )
            worker = _a_worker() if done >= (killed + 1) * SESSIONS // (2 * kills) else None
            if worker is not None and killed < kills:
                worker.kill()
                killed += 1
            time.sleep(0.2)
        calls = endpoint.stats()["requests"] - before
    rows = rows_of(out)
    ids = Counter(row["session_id"] for row in rows)
    print(
        f"\n{way}: {killed} of its processes killed; {SESSIONS} sessions, {len(ids)} with a "
        f"result, {len(rows) - len(ids)} twice; {calls:.0f} calls; {load()}"
    )
    assert killed == kills
    assert process.returncode == 0
    assert rows == rows_of(alone)
    # What was on its way when a process was killed, and one question a process of what is possible.
    assert calls <= SESSIONS + kills * at_once // 2 + 2 + kills


def _a_worker() -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline"]):
        told = " ".join(process.info["cmdline"] or [])
        if "agentrec.app.batch.worker" in told or told.startswith("ray::MapWorker"):
            return process
    return None


RAY_OF_THE_USER = """
import asyncio, sys, ray
from agentrec.batch.worker import PartitionTask
from agentrec.batch.ray_engine import RayActors
from agentrec.errors import InputError
from pathlib import Path

tasks = [PartitionTask.model_validate_json(line) for line in sys.stdin]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
try:
    asyncio.run(RayActors(1, Path(sys.argv[1])).run(tasks))
except InputError as error:
    print("failed with", error)
print("up" if ray.is_initialized() else "down")
ray.shutdown()
"""


def test_a_cluster_of_the_user_outlives_a_part_that_fails(tmp_path: Path) -> None:
    with PacedEndpoint() as endpoint:
        environment = environment_of(tmp_path, endpoint.base_url)
        make_run(tmp_path, environment)
        settings = settings_of(tmp_path)
        (tmp_path / "out").mkdir()
        missing = BatchOptions(sessions=tmp_path / "none.jsonl", out=tmp_path / "out")
        tasks = [
            PartitionTask(settings=settings, options=missing, partition=partition)
            for partition in partitions(2)
        ]
        used = subprocess.run(
            [sys.executable, "-c", RAY_OF_THE_USER, str(missing.out)],
            input="".join(f"{task.model_dump_json()}\n" for task in tasks),
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert used.returncode == 0, used.stderr
    failed, standing = used.stdout.splitlines()[-2:]
    assert failed.startswith("failed with")
    assert "none.jsonl: " in failed
    assert "No such file" in failed
    assert standing == "up"
