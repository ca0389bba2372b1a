"""A batch over very many rows of which many cannot be used: each is accounted for exactly once.

The model answers at once. ``AGENTREC_BENCH_ROWS`` says how many rows (100,000).
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from benchmarks.instant_command import Ended, instant
from benchmarks.recommending_parts import load
from benchmarks.spoilt_sessions import write_spoilt_sessions

from agentrec.data import load_folder
from agentrec.testing.planted_sessions import write_planted_sessions

ROWS = int(os.environ.get("AGENTREC_BENCH_ROWS", "100000"))
FEW = 500
MOST_GROWTH = 150
"""MiB that many rows may take beyond what few of them take."""


@pytest.mark.bench
def test_every_row_is_done_or_rejected_for_the_right_reason(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_planted_sessions(data, num_items=60, num_train=60, num_valid=16, num_test=40)
    shown = load_folder(data).test
    _ended(tmp_path, "demo", "--data", data, "--run", run, "--embeddings=hashed", "--llm=x:y")
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    write_spoilt_sessions(few, shown, FEW, random.Random(1))
    planted = write_spoilt_sessions(many, shown, ROWS, random.Random(0))
    given = ["--run", run, "--format", "jsonl", "--out"]
    small = _ended(tmp_path, "batch", few, *given, tmp_path / "few", code=3)
    out = tmp_path / "out"
    whole = _ended(tmp_path, "batch", many, *given, out, code=3)
    summary = json.loads((out / "summary.json").read_text())
    again = _ended(tmp_path, "batch", many, *given, out, code=3)
    print(
        f"\n{ROWS} rows, {len(planted.sound)} of them sessions, {planted.blank} blank lines, "
        f"{many.stat().st_size / 2**20:.0f} MiB; {load()}"
    )
    print(f"rejected: {dict(sorted(planted.reasons.items()))}")
    for name, ended in ((f"{FEW} rows", small), (f"{ROWS} rows", whole), ("again", again)):
        print(f"{name}: {ended.seconds:.1f} s, CPU {ended.cpu:.1f} s, peak {ended.peak:.0f} MiB")
    print(f"{ROWS / whole.seconds:.0f} rows/s, {len(planted.sound) / whole.seconds:.0f} sessions/s")
    assert summary["failed"] == {}
    assert summary["rejected"] == planted.reasons
    assert summary["done"] + sum(summary["rejected"].values()) == planted.rows
    rows = [
        json.loads(line)
        for part in sorted(out.glob("results/*.jsonl"))
        for line in part.read_text().splitlines()
    ]
    found = sorted((row["row_index"], row["session_id"]) for row in rows)
    assert found == sorted(planted.sound.items())
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == len(planted.reason_at)
    assert {row["row_index"]: row["reason"] for row in rejected} == planted.reason_at
    assert not (out / "failures.jsonl").exists()
    # The second time nothing is left to do, and the summary is the same.
    second = json.loads((out / "summary.json").read_text())
    assert (second["attempted"], second["done"]) == (0, summary["done"])
    assert second["rejected"] == summary["rejected"]
    assert whole.peak - small.peak < MOST_GROWTH


def _ended(folder: Path, *arguments: object, code: int = 0) -> Ended:
    ended = instant(arguments, folder / "log", folder / "cache")
    assert ended.code == code, ended.output
    return ended
