"""One small world, one embedded model taught on it, and a finished run: made once.

The model takes longest by far; processes that run tests side by side share it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import portalocker
import pytest
import torch
from app.preference_runs import QUICK, quiet
from rich.console import Console

from agentrec.app.learning.demo import run_demo
from agentrec.app.preferences.run_collection import collect_in_run
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.evaluation.report import MetricsReport
from agentrec.llm.gateway.gateway import PROBE_NODE
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.planted_sessions import PlantedSessions, write_planted_sessions

LM_STEPS = 300


@dataclass(frozen=True)
class FinishedRun:
    """A run that nobody interrupted."""

    folder: Path
    report: MetricsReport
    output: str


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """Where models are kept; what one process taught, the others find."""
    folder = shared / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("AGENTREC_CACHE", str(cache))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedSessions:
    folder = tmp_path_factory.mktemp("world") / "planted"
    return write_planted_sessions(folder, num_items=60, num_train=60, num_valid=16, num_test=80)


@pytest.fixture(scope="session")
def settings_for(planted: PlantedSessions) -> Callable[..., RunSettings]:
    def made(run: Path, **changes: object) -> RunSettings:
        return RunSettings.model_validate(
            {
                "data": planted.folder,
                "run": run,
                "embeddings": "hashed",
                "lm_steps": LM_STEPS,
                "max_hints": 6,
                "max_explored": 40,
                "max_rewarded": 40,
                "num_probes": 16,
                **changes,
            }
        )

    return made


@pytest.fixture(scope="session")
def finished(
    settings_for: Callable[..., RunSettings],
    tmp_path_factory: pytest.TempPathFactory,
    cache: Path,
) -> FinishedRun:
    output = io.StringIO()
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTREC_CACHE", str(cache))
        console = Console(file=output, width=140)
        # Whoever comes second finds the model taught.
        with portalocker.Lock(cache / "teaching", timeout=600):
            report = asyncio.run(run_demo(settings_for(folder), console))
    return FinishedRun(folder, report, output.getvalue())


@contextmanager
def journal_of(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "calls.sqlite")
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path], dict[str, str]]:
    """The journal of a run: answers by key, without the one on what the model is capable of."""

    def read(folder: Path) -> dict[str, str]:
        with journal_of(folder) as connection:
            return dict(
                connection.execute("SELECT key, text FROM answers WHERE node != ?", (PROBE_NODE,))
            )

    return read


@pytest.fixture(scope="session")
def embedded(finished: FinishedRun, cache: Path) -> CatalogChatModel:
    """The model that the finished run asked."""
    first, *_ = (finished.folder / "hints.jsonl").read_text().splitlines()
    name = json.loads(first)["provenance"]["model"]
    return CatalogChatModel.from_folder(cache / "catalog-lm" / name)


@dataclass(frozen=True)
class HttpRun:
    """A run that asked the same model over HTTP, and what it asked."""

    folder: Path
    asked: list[str]
    port: int


@pytest.fixture(scope="session")
def http_run(
    embedded: CatalogChatModel,
    cache: Path,
    settings_for: Callable[..., RunSettings],
    tmp_path_factory: pytest.TempPathFactory,
) -> HttpRun:
    folder = tmp_path_factory.mktemp("runs") / "http"
    with OpenAIServer(embedded) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTREC_CACHE", str(cache))
        patch.setenv("OPENAI_BASE_URL", server.base_url)
        patch.setenv("OPENAI_API_KEY", "unused")
        asyncio.run(run_demo(settings_for(folder, llm="openai:local"), quiet()))
        port = int(server.base_url.removesuffix("/v1").rpartition(":")[2])
        return HttpRun(folder, [asked[-1].text for asked in server.asked], port)


@pytest.fixture(scope="session")
def collected(
    finished: FinishedRun,
    settings_for: Callable[..., RunSettings],
    tmp_path_factory: pytest.TempPathFactory,
    cache: Path,
) -> Path:
    """A run whose pairs were collected, by nobody interrupted."""
    folder = tmp_path_factory.mktemp("preferences") / "run"
    shutil.copytree(finished.folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTREC_CACHE", str(cache))
        asyncio.run(collect_in_run(settings_for(folder, prefer=QUICK), quiet()))
    return folder
