"""How the tests about batches run them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from app.preference_runs import quiet

from agentrec.batch.run_batch import BatchOptions, BatchSummary, run_batch
from agentrec.data import load_folder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions


def of_planted(planted: PlantedSessions) -> list[Session]:
    """The test sessions, with candidates."""
    return list(load_folder(planted.folder, seed=0).test)


def many_of_planted(planted: PlantedSessions) -> list[Session]:
    """The same three times over, each time with fewer candidates: so many different prompts."""
    return [
        one.model_copy(
            update={"session_id": f"{one.session_id}-{turn}", "candidates": one.candidates[turn:]}
        )
        for turn in range(3)
        for one in of_planted(planted)
    ]


def written(file: Path, sessions: list[Session], *more: str) -> Path:
    """Sessions as JSON lines without their targets, and further lines."""
    lines = [one.model_dump_json(exclude={"target"}, exclude_none=True) for one in sessions]
    file.write_text("".join(f"{line}\n" for line in [*lines, *more]))
    return file


def results(out: Path) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for file in sorted(out.glob("results/*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def run(settings: RunSettings, source: Path, out: Path, **options: object) -> BatchSummary:
    told = {"form": "jsonl", **options}
    wanted = BatchOptions(sessions=source, out=out, **told)  # type: ignore[arg-type]
    return asyncio.run(run_batch(settings, wanted, quiet()))
