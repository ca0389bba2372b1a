from __future__ import annotations

from pathlib import Path

import pytest
from app.planted_pairs import planted_pairs, save_taught, save_tiny_llama

from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.training import Alignment, align


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an embedded model that writes a little."""
    return save_taught(tmp_path_factory.mktemp("embedded") / "taught")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny, untrained chat model of the ordinary kind."""
    return save_tiny_llama(tmp_path_factory.mktemp("ordinary") / "llama")


@pytest.fixture(scope="session")
def small() -> AlignmentConfig:
    return AlignmentConfig(batch_size=8, check_every=4)


@pytest.fixture(scope="session")
def tuned(
    taught: Path, small: AlignmentConfig, tmp_path_factory: pytest.TempPathFactory
) -> Alignment:
    """The embedded model after DPO on planted pairs."""
    return align(planted_pairs(48), taught, tmp_path_factory.mktemp("tuned") / "dpo", small)
