"""A small run on planted sessions, and files of sessions for it, for measurements of batches."""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from agentrec.app.learning.demo import run_demo
from agentrec.data import load_folder
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import write_planted_sessions

_ADDRESSES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AGENTREC_CACHE")


def environment_of(folder: Path, base_url: str) -> dict[str, str]:
    """What a command is started with whose model answers at an address."""
    own = os.environ.items()
    environment = {name: value for name, value in own if "AGENTREC_BENCH" not in name}
    values = ("unused", base_url, str(folder / "cache"))
    return environment | dict(zip(_ADDRESSES, values, strict=True))


def settings_of(folder: Path) -> RunSettings:
    """Those of the run that ``make_run`` makes in a folder."""
    return RunSettings.model_validate(
        {
            "data": folder / "data",
            "run": folder / "run",
            "embeddings": "hashed",
            "llm": "openai:local",
            "backbone": None,
            "max_hints": 2,
            "max_explored": 4,
            "max_rewarded": 10,
            "num_probes": 2,
        }
    )


def make_run(folder: Path, environment: dict[str, str]) -> Path:
    """Have something learnt, with the model that the environment names; returns the run."""
    settings = settings_of(folder)
    write_planted_sessions(folder / "data", num_items=60, num_train=60, num_valid=16, num_test=40)
    with pytest.MonkeyPatch.context() as patch:
        for name in _ADDRESSES:
            patch.setenv(name, environment[name])
        asyncio.run(run_demo(settings, Console(file=io.StringIO())))
    return settings.run


def write_sessions(file: Path, folder: Path, count: int) -> Path:
    """Sessions to recommend for, each with a prompt of its own."""
    shown = load_folder(folder / "data").test
    with file.open("w") as stream:
        for number in range(count):
            one, turn = shown[number % len(shown)], number // len(shown)
            items = _turned(one.items, turn)
            candidates = _turned(one.candidates, turn // len(one.items))
            row = {"session_id": f"s{number}", "items": items, "candidates": candidates}
            stream.write(json.dumps(row) + "\n")
    return file


def _turned(ids: tuple[str, ...], by: int) -> tuple[str, ...]:
    at = by % len(ids)
    return (*ids[at:], *ids[:at])
