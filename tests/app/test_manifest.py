"""What a run is made of is written down so that it is found again, and nobody's keys with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrec.data import Dataset, load_folder
from agentrec.llm.prompts.templates import Prompts
from agentrec.runs.manifest import manifest_of, run_name, settings_in
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import load_settings
from agentrec.testing.planted_sessions import PlantedSessions

Settings = Callable[..., RunSettings]
SECRET = "hush-hush-1234"


@pytest.fixture(scope="module")
def dataset(planted: PlantedSessions) -> Dataset:
    return load_folder(planted.folder)


def written(settings: RunSettings, dataset: Dataset) -> dict[str, object]:
    """As it is read back from its file."""
    found: dict[str, object] = json.loads(
        json.dumps(manifest_of(settings, dataset, Prompts.load(), "openai:m@12345678"))
    )
    return found


MODEL = {"name": "openai:m", "temperature": 0.5, "timeout": 7, "shuffles": 2}


def test_the_settings_of_a_run_are_found_again(
    settings_for: Settings, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_for(
        tmp_path / "run",
        llm={**MODEL, "base_url": "http://127.0.0.1:1/v1", "parameters": {"max_tokens": 9}},
        policy={"kind": "linucb", "settings": {"ridge": 2.0}, "nearest": 3, "halving": True},
        state_blocks=["length", "text"],
        explore={"patience": 3},
        limits={"max_concurrency": 3},
        prices={"currency": "EUR", "models": {"m": {"input": 1, "output": 2}}},
    )
    manifest = written(settings, dataset)
    found, _ = load_settings({"run": tmp_path / "run"}, below=settings_in(manifest))
    assert found == settings
    assert manifest == written(found, dataset)
    assert run_name(manifest) == run_name(written(found, dataset))


def test_where_things_lie_is_no_part_of_what_a_run_is(
    settings_for: Settings, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = written(settings_for(tmp_path / "run", data="shop", prompts="mine"), dataset)
    there = written(settings_for(tmp_path / "other", data=tmp_path / "elsewhere"), dataset)
    assert here["identity"] == there["identity"]
    assert settings_in(here)["data"] == str(tmp_path / "shop"), "found from any folder"
    assert settings_in(here)["prompts"] == str(tmp_path / "mine")
    assert "prompts" not in settings_in(there)


@pytest.mark.parametrize(
    "llm",
    [
        {"base_url": f"https://me:{SECRET}@host/v1"},
        {"base_url": f"https://{SECRET}@host/v1"},
        {"base_url": f"https://host/v1?key={SECRET}"},
        {"parameters": {"api_key": SECRET}},
        {"parameters": {"default_headers": {"X-Title": SECRET}}},
        {"parameters": {"default_query": {"access_token": SECRET}}},
        {"parameters": {"model_kwargs": [{"password": SECRET}]}},
    ],
    ids=str,
)
def test_no_key_is_written_down(
    llm: dict[str, object], settings_for: Settings, dataset: Dataset, tmp_path: Path
) -> None:
    # Settings refuse most of these before; what is put together here is not to rely on it.
    manifest = written(settings_for(tmp_path / "run", llm={**MODEL, **llm}), dataset)
    assert SECRET not in json.dumps(manifest)
    assert settings_in(manifest)["llm"]["name"] == "openai:m"
