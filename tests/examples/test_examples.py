"""Every example runs, offline, and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "AGENTREC_CACHE": str(tmp_path), "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_own_graph_follows_the_hint(tmp_path: Path) -> None:
    example = next(path for path in EXAMPLES if path.stem == "own_graph")
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    usual, editors = done.stdout.splitlines()[-2:]
    assert editors.startswith("editors:")
    # Of the twenty candidates five are red; the history has none.
    assert editors.count("red mug") >= 4
    assert usual.count("red mug") <= 1
