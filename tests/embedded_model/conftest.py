from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path

import portalocker
import pytest
import torch
from embedded_model import planted
from embedded_model.planted import Planted

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.folder import CatalogModel, load_model, save_model
from agentrec.embedded_model.teaching.training import TrainingPlan


def skip_fault(name: str, *, skipped: bool, listed: Mapping[str, str]) -> str | None:
    """What is wrong with a test that was skipped, or was not, by a list of those that are."""
    if skipped == (name in listed):
        return None
    return f"{name} was {'skipped and is not' if skipped else 'not skipped and is'} listed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a test fail whose module lists what it skips, if this one differs from the list."""
    report = yield
    listed = getattr(getattr(item, "module", None), "SKIPPED", None)
    if listed is not None and not report.failed and (call.when == "call" or report.skipped):
        name = getattr(item, "originalname", item.name)
        fault = skip_fault(name, skipped=report.skipped, listed=listed)
        if fault is not None:
            report.outcome, report.longrepr = "failed", fault
    return report


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def films() -> Planted:
    return planted.films()


@pytest.fixture(scope="session")
def titles() -> Planted:
    return planted.titles_only()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all worker processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def trained_once(
    made: Planted, folder: Path, plan: TrainingPlan
) -> tuple[CatalogModel, list[float]]:
    """Train a model unless another worker has, and load it with the losses of its steps."""
    folder.mkdir(exist_ok=True)
    with portalocker.Lock(folder / "lock", timeout=600):
        if not (folder / "losses.json").exists():
            model, losses = made.trained(folder, plan)
            save_model(model, "card", folder / "model")
            (folder / "losses.json").write_text(json.dumps(losses))
    return load_model(folder / "model"), json.loads((folder / "losses.json").read_text())


@pytest.fixture(scope="session")
def lesson(films: Planted, shared_folder: Path) -> tuple[CatalogModel, list[float]]:
    """A model of ``films`` trained to rank, and its losses."""
    return trained_once(films, shared_folder / "ranking-model", planted.RANKING_PLAN)


@pytest.fixture(scope="session")
def taught(lesson: tuple[CatalogModel, list[float]]) -> CatalogModel:
    return lesson[0]


@pytest.fixture(scope="session")
def writer(films: Planted, shared_folder: Path) -> CatalogModel:
    """A model of ``films`` trained to write texts."""
    return trained_once(films, shared_folder / "writing-model", planted.WRITING_PLAN)[0]


@pytest.fixture
def chat(taught: CatalogModel) -> CatalogChatModel:
    return CatalogChatModel(catalog_model=taught)
