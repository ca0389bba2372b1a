from __future__ import annotations

from collections.abc import Generator, Mapping

import pytest
import torch
from embedded_model import planted
from embedded_model.planted import Planted

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.folder import CatalogModel


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
def lesson(
    films: Planted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CatalogModel, list[float]]:
    """A model of ``films`` taught to rank, and its losses."""
    return films.trained(tmp_path_factory.mktemp("lesson"))


@pytest.fixture(scope="session")
def taught(lesson: tuple[CatalogModel, list[float]]) -> CatalogModel:
    return lesson[0]


@pytest.fixture(scope="session")
def writer(films: Planted, tmp_path_factory: pytest.TempPathFactory) -> CatalogModel:
    """A model of ``films`` taught to write texts."""
    return films.trained(tmp_path_factory.mktemp("writer"), planted.WRITING_PLAN)[0]


@pytest.fixture
def chat(taught: CatalogModel) -> CatalogChatModel:
    return CatalogChatModel(catalog_model=taught)
