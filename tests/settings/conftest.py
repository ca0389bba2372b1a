"""Settings without those of whoever runs the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentrec.errors import InputError
from agentrec.settings.sources import load_settings

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("AGENTREC_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a settings file."""

    def written(text: str, name: str = "agentrec.toml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return written


def error_of(given: Mapping[str, Any] | None = None, config: Path | None = None) -> InputError:
    """Return the error of loading settings: one line, without pydantic's own phrases."""
    with pytest.raises(InputError) as caught:
        load_settings(given, config)
    text = str(caught.value)
    assert "\n" not in text
    assert not any(words in text for words in ("Value error", "Input should", "Extra inputs"))
    return caught.value
