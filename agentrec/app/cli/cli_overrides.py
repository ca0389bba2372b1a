"""From options of the command line to settings, nested like the settings themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cli_overrides(
    run: Path | None,
    data: Path | None,
    llm: str | None,
    seed: int | None,
    concurrency: int | None,
) -> dict[str, Any]:
    """What commands about a run have in common; ``None`` for what was not given."""
    return {
        "run": run,
        "data": data,
        "llm": {"name": llm},
        "seed": seed,
        "limits": {"max_concurrency": concurrency},
    }


def without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given: a setting that was not must not hide one from elsewhere."""
    kept = {}
    for name, value in given.items():
        inner = without_none(value) if isinstance(value, Mapping) else value
        if inner is not None and inner != {}:
            kept[name] = inner
    return kept
