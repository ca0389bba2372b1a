"""How long after Ctrl-C `agentrec batch` is gone, at whatever moment it is pressed.

Ten drawn moments each, start-up included, of a batch whose model answers over HTTP, of one whose
model is the embedded one, and of one that has to teach it first. After each the same command has to
finish, and every session to have one result. ``AGENTREC_BENCH_MOMENTS`` is how many (10),
``AGENTREC_BENCH_SEED`` draws them and is 0 unless told.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from benchmarks.paced_endpoint import PacedEndpoint
from benchmarks.recommending_parts import load
from rich.console import Console

from agentrec.app.learning.demo import run_demo
from agentrec.data import load_folder
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import write_planted_sessions

MOMENTS = int(os.environ.get("AGENTREC_BENCH_MOMENTS", "10"))
SEED = int(os.environ.get("AGENTREC_BENCH_SEED", "0"))
IN_FLIGHT = 64
LATENCY = 2.0
SESSIONS = 320
GOAL = 3.0
"""Seconds within which a person wants the prompt back."""


@dataclass(frozen=True)
class Batch:
    """A batch that is stopped and gone on with, each time in a folder of its own."""

    arguments: list[str]
    cache: Path
    taught: bool

    def begun(self, out: Path, log: Path) -> subprocess.Popen[bytes]:
        own = os.environ.items()
        environment = {name: value for name, value in own if "AGENTREC_BENCH" not in name}
        command = [str(Path(sys.executable).with_name("agentrec")), *self.arguments]
        with log.open("ab") as told:
            return subprocess.Popen(
                [*command, "--out", str(out)],
                env={**environment, "AGENTREC_CACHE": str(self.cache)},
                stdout=told,
                stderr=told,
            )

    def seconds(self, out: Path, log: Path) -> float:
        """Go through it to its end."""
        since = time.monotonic()
        assert self.begun(out, log).wait() == 0, log.read_text()
        return time.monotonic() - since


@pytest.mark.bench
@pytest.mark.enable_socket
@pytest.mark.parametrize("kind", ["over HTTP", "embedded", "embedded, taught first"])
def test_the_prompt_is_back_soon(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = random.Random(f"{SEED}{kind}")
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    monkeypatch.setenv("AGENTREC_CACHE", str(tmp_path / "cache"))
    waits: list[float] = []
    with _address(kind, monkeypatch):
        batch = _batch(kind, tmp_path)
        if not batch.taught:
            shutil.rmtree(batch.cache)
        whole = batch.seconds(tmp_path / "whole", tmp_path / "whole.log")
        assert _valid(tmp_path / "whole") == SESSIONS
        print(f"\n{kind}: {whole:.1f} s when nobody stops it; {load()}")
        for number in range(MOMENTS):
            out, log = tmp_path / f"out-{number}", tmp_path / f"{number}.log"
            if not batch.taught:
                shutil.rmtree(batch.cache)
            # One in each tenth of the time, so that none is left out.
            after = whole * (number + draws.random()) / MOMENTS
            process = batch.begun(out, log)
            time.sleep(after)
            if process.poll() is not None:
                # The machine is less busy by now.
                assert (process.returncode, _valid(out)) == (0, SESSIONS)
                print(f"  after {after:5.1f} s: was done")
                continue
            computed = _computed(process)
            process.send_signal(signal.SIGINT)
            pressed = time.monotonic()
            _, status, used = os.wait4(process.pid, 0)
            waits.append(time.monotonic() - pressed)
            code = process.returncode = os.waitstatus_to_exitcode(status)
            computing = used.ru_utime + used.ru_stime - computed
            told = log.read_text().strip().splitlines()
            some = _valid(out)
            again = batch.seconds(out, log)
            assert _valid(out) == SESSIONS
            print(
                f"  after {after:5.1f} s: gone {waits[-1]:.2f} s later ({computing:.2f} s CPU), "
                f"code {code}, {some} results, {told[-1] if told else 'nothing said'!r}; "
                f"finished in {again:.1f} s"
            )
            # It may have been at its end just then.
            assert code in (130, -signal.SIGINT) or (code, some) == (0, SESSIONS)
    assert waits
    print(f"  longest {max(waits):.2f} s, mean {sum(waits) / len(waits):.2f} s; {load()}")
    # What is measured is told; that far beyond the goal something waits for what it should not.
    assert max(waits) < 3 * GOAL


def _computed(process: subprocess.Popen[bytes]) -> float:
    """Seconds that a process has computed so far."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


@contextmanager
def _address(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if kind != "over HTTP":
        yield
        return
    with PacedEndpoint(LATENCY) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.base_url)
        yield


def _batch(kind: str, folder: Path) -> Batch:
    data, run, source = folder / "data", folder / "run", folder / "sessions.jsonl"
    write_planted_sessions(data, num_items=60, num_train=60, num_valid=16, num_test=40)
    settings = RunSettings.model_validate(
        {
            "data": data,
            "run": run,
            "embeddings": "hashed",
            "llm": {"name": "openai:local" if kind == "over HTTP" else None},
            "backbone": None,
            "lm_steps": 40,
            "max_hints": 2,
            "max_explored": 4,
            "max_rewarded": 10,
            "num_probes": 2,
            "policy": {"settings": {"iterations": 3}},
        }
    )
    asyncio.run(run_demo(settings, Console(file=io.StringIO())))
    shown = load_folder(data).test
    with source.open("w") as stream:
        for number in range(SESSIONS):
            one, turn = shown[number % len(shown)], number // len(shown)
            items = (*one.items[turn % len(one.items) :], *one.items[: turn % len(one.items)])
            at = turn // len(one.items)
            candidates = (*one.candidates[at:], *one.candidates[:at])
            told = {"session_id": f"s{number}", "items": items, "candidates": candidates}
            stream.write(json.dumps(told) + "\n")
    arguments = ["batch", str(source), "--run", str(run), "--format", "jsonl"]
    arguments += ["--concurrency", str(IN_FLIGHT)]
    return Batch(arguments, folder / "cache", "taught" not in kind)


def _valid(out: Path) -> int:
    """How many results there are, each once, in files that can be read."""
    ids = [
        json.loads(line)["session_id"]
        for file in out.glob("results/part-*")
        for line in file.read_text().splitlines()
    ]
    assert len(set(ids)) == len(ids)
    for name in ("sessions.sqlite", "calls.sqlite"):
        if (out / name).is_file():
            connection = sqlite3.connect(f"file:{out / name}?mode=ro", uri=True)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.close()
    if (out / "summary.json").is_file():
        assert json.loads((out / "summary.json").read_text())["done"] == len(ids)
    return len(ids)
