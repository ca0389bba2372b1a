"""Kill -9 at random moments of `agentrec batch`, again and again, until the batch is done.

Nothing may be lost, nothing be there twice, and nothing be asked whose answer was kept. The model
answers over HTTP; the run is a small one on planted sessions. ``AGENTREC_BENCH_KILLS`` is how many
kills (50), ``AGENTREC_BENCH_SESSIONS`` how many sessions (2,000), ``AGENTREC_BENCH_SEED`` draws the
moments (0).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.small_runs import environment_of, make_run, write_sessions

from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

KILLS = int(os.environ.get("AGENTREC_BENCH_KILLS", "50"))
SESSIONS = int(os.environ.get("AGENTREC_BENCH_SESSIONS", "2000"))
SEED = int(os.environ.get("AGENTREC_BENCH_SEED", "0"))
CONCURRENCY = 16
RANKING = "\n".join(f"{n}. C{n:02d} | item" for n in range(1, 11))

pytestmark = [pytest.mark.bench, pytest.mark.enable_socket]


def test_whatever_is_killed_no_result_is_lost_or_there_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with OpenAIServer(_ranker(), latency=0.2) as server:
        environment = environment_of(tmp_path, server.base_url)
        run = make_run(tmp_path, environment)
        source = write_sessions(tmp_path / "sessions.jsonl", tmp_path, SESSIONS)
        command = [str(Path(sys.executable).with_name("agentrec")), "batch", str(source)]
        command += ["--out", str(out), "--run", str(run), "--format", "jsonl"]
        command += ["--concurrency", str(CONCURRENCY)]
        before, draws = server.requests, random.Random(SEED)
        kills, lost, phases = 0, 0, Counter[str]()
        while True:
            wanted = draws.uniform(0.0, 0.9) if kills < KILLS else None
            killed, phase = _life(command, environment, out, tmp_path / "log", wanted)
            if not killed:
                break
            kills += 1
            phases[phase] += 1
            lost = _check(out)
        asked = [str(messages) for messages in server.asked[before:]]
    rows = [
        json.loads(line) for file in out.glob("results/*") for line in file.read_text().splitlines()
    ]
    ids = Counter(row["session_id"] for row in rows)
    repeated = len(asked) - len(set(asked))
    print(f"\n{kills} kills ({dict(phases)}); {SESSIONS} sessions, {len(ids)} have a result")
    print(f"there twice: {sum(count - 1 for count in ids.values())}; lost: {SESSIONS - len(ids)}")
    print(
        f"calls: {len(asked)}, of them {repeated} again, on their way when their process was"
        f" killed (at most {CONCURRENCY} a kill)"
    )
    assert len(ids) == SESSIONS == len(rows)
    assert repeated <= CONCURRENCY * kills
    assert not lost


def _ranker() -> ScriptedChatModel:
    return ScriptedChatModel([lambda _: RANKING] * (100 * (SESSIONS + 10_000)))


def _life(
    command: list[str], environment: dict[str, str], out: Path, log: Path, seconds: float | None
) -> tuple[bool, str]:
    """One process: killed so many seconds after it began to work, or when it is done."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process,
    ):
        known, start = _answers(out), None
        while process.poll() is None:
            if start is None and _answers(out) > known:
                start = time.monotonic()
            if seconds is not None and start is not None and time.monotonic() - start >= seconds:
                process.kill()
            time.sleep(0.02)
    if process.returncode == -signal.SIGKILL:
        return True, "working"
    assert process.returncode == 0, log.read_text()
    return False, "done"


def _answers(out: Path) -> int:
    return _number(out / "calls.sqlite", "SELECT COUNT(*) FROM answers")


def _check(out: Path) -> int:
    """How many results the log knows of that are nowhere to be found."""
    known = _number(out / "sessions.sqlite", "SELECT COUNT(*) FROM sessions")
    held = _number(
        out / "sessions.sqlite", "SELECT COUNT(*) FROM sessions WHERE content IS NOT NULL"
    )
    written = sum(len(file.read_text().splitlines()) for file in out.glob("results/part-*"))
    return max(0, known - held - written)


def _number(file: Path, query: str) -> int:
    if not file.is_file():
        return 0
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        # Not made yet.
        return 0
    finally:
        connection.close()
