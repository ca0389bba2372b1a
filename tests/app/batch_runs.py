"""Batches as the tests run them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from agentrec.batch.partitions import BatchOptions
from agentrec.batch.run_batch import BatchSummary, run_batch
from agentrec.data import load_folder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions


def planted_test_sessions(planted: PlantedSessions) -> list[Session]:
    """The test sessions, with candidates."""
    return list(load_folder(planted.folder, seed=0).test)


def many_planted_sessions(planted: PlantedSessions) -> list[Session]:
    """The test sessions three times, each time with fewer candidates: so many distinct prompts."""
    return [
        one.model_copy(
            update={"session_id": f"{one.session_id}-{turn}", "candidates": one.candidates[turn:]}
        )
        for turn in range(3)
        for one in planted_test_sessions(planted)
    ]


def write_sessions(file: Path, sessions: list[Session], *more_lines: str) -> Path:
    """Write sessions as JSON lines without their targets, and further lines."""
    lines = [one.model_dump_json(exclude={"target"}, exclude_none=True) for one in sessions]
    file.write_text("".join(f"{line}\n" for line in [*lines, *more_lines]))
    return file


def json_lines(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(files) for line in file.read_text().splitlines()]


def results(out: Path) -> list[dict[str, Any]]:
    """All rows of results, as written."""
    return json_lines(*out.glob("results/*.jsonl"))


def rankings(out: Path) -> list[dict[str, Any]]:
    """Results in the order of the input, without the times; every session has exactly one."""
    rows = [{name: row[name] for name in row if name != "seconds"} for row in results(out)]
    assert len({row["session_id"] for row in rows}) == len(rows)
    return sorted(rows, key=lambda row: int(row["row_index"]))


def run(settings: RunSettings, source: Path, out: Path, **options: Any) -> BatchSummary:
    wanted = BatchOptions(sessions=source, out=out, **{"result_format": "jsonl", **options})
    return asyncio.run(run_batch(settings, wanted))
