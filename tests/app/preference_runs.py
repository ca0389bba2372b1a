"""How the tests about preferences collect them: as little as shows something."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from agentrec.settings.run_settings import RunSettings

QUICK = {
    "samples": 3,
    "backbone_settings": {"dim": 16, "layers": 1, "epochs": 3},
    "reward_model": {"epochs": 4, "hidden": 16},
}
Settings = Callable[..., RunSettings]


def quiet() -> Console:
    return Console(file=io.StringIO(), width=120)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
