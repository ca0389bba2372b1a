from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "qdrant_client", "transformers", "pyarrow", "matplotlib")


def heavy_loaded_by(module: str, path: Path | None = None) -> set[str]:
    """The heavy libraries that a fresh interpreter holds after importing `module`."""
    code = f"import sys, {module}\nprint(*({set(HEAVY)} & sys.modules.keys()))"
    places = {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | places,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["agentrec", "agentrec.contracts"])
def test_core_loads_no_heavy_library(module: str) -> None:
    assert heavy_loaded_by(module) == set()


def test_whoever_asks_another_model_does_not_wait_for_the_embedded_ones_libraries() -> None:
    assert "transformers" not in heavy_loaded_by("agentrec.app.demo")


def test_planted_heavy_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "planted.py").write_text("import torch\n")
    assert heavy_loaded_by("planted", tmp_path) == {"torch"}
