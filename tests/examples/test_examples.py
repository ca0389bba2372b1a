"""Every example runs, offline, and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@cache
def ended(example: Path) -> subprocess.CompletedProcess[str]:
    """An example that was run, once a process, in a folder of its own."""
    with TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, str(example)],
            cwd=folder,
            env={**os.environ, "AGENTREC_CACHE": folder, "PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path) -> None:
    done = ended(example)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_own_graph_follows_the_hint() -> None:
    done = ended(next(path for path in EXAMPLES if path.stem == "own_graph"))
    usual, editors = done.stdout.splitlines()[-2:]
    assert editors.startswith("editors:")
    # Of the twenty candidates five are red; the history has none.
    assert editors.count("red mug") >= 4
    assert usual.count("red mug") <= 1
