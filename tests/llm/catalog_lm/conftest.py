from __future__ import annotations

import pytest
import torch
from llm.catalog_lm import planted
from llm.catalog_lm.planted import Planted

from agentrec.llm.catalog_lm.chat_model import CatalogChatModel
from agentrec.llm.catalog_lm.folder import CatalogModel


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
    """A model of ``films`` taught once, and its losses."""
    return films.trained(tmp_path_factory.mktemp("lesson"))


@pytest.fixture(scope="session")
def taught(lesson: tuple[CatalogModel, list[float]]) -> CatalogModel:
    return lesson[0]


@pytest.fixture
def chat(taught: CatalogModel) -> CatalogChatModel:
    return CatalogChatModel(catalog_model=taught)
