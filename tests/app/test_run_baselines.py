"""The sequential recommender of a run: trained once, stopped and gone on with, loaded again."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from app.run_copies import RunCopy
from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.run_baselines import backbone_config, obtain_backbone
from agentrec.data import Dataset, load_folder
from agentrec.errors import InputError
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.progress import Report
from agentrec.runs.manifest import manifest_of, run_name, settings_in
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import load_settings
from agentrec.testing.planted_sessions import PlantedSessions

Settings = Callable[..., RunSettings]


class StoppedHereError(Exception):
    pass


class Watched(ConsoleProgress):
    """Remembers which epochs were trained, and stops at one."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__(Console(quiet=True))
        self.seen: list[int] = []
        self._stop_at = stop_at

    @contextmanager
    def phase(self, title: str, total: int | None = None) -> Iterator[Report]:
        def report(done: int, of: int) -> None:
            self.seen.append(done)
            if done == self._stop_at:
                raise StoppedHereError

        yield report


@pytest.fixture(scope="module")
def dataset(planted: PlantedSessions) -> Dataset:
    return load_folder(planted.folder)


def obtained(
    settings: RunSettings, dataset: Dataset, stop_at: int | None = None
) -> tuple[SequentialRecommender | None, list[int]]:
    display = Watched(stop_at)
    parts: Any = SimpleNamespace(
        settings=settings, dataset=dataset, folder=RunFolder(settings.run), display=display
    )
    return asyncio.run(obtain_backbone(parts)), display.seen


def test_it_is_trained_once_and_then_loaded(
    settings_for: Settings, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    made, seen = obtained(settings, dataset)
    assert made is not None
    assert made.backbone_kind == "sasrec"
    assert seen[:2] == [1, 2]
    # Validation sessions end it, long before all epochs are done.
    assert len(made.curve) < made.config.epochs
    assert all(point.valid_ndcg is not None for point in made.curve)
    folder = tmp_path / "backbone"
    assert {file.name.partition("-")[0] for file in folder.iterdir()} == {
        "policy.json",
        "weights",
        "training.json",
    }
    monkeypatch.setattr(BackboneTrainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    again, seen = obtained(settings, dataset)
    assert again is not None
    assert again.parameter_hash == made.parameter_hash
    assert seen == []


def test_a_stopped_training_goes_on(
    settings_for: Settings, dataset: Dataset, tmp_path: Path
) -> None:
    whole, epochs = obtained(settings_for(tmp_path / "whole"), dataset)
    settings = settings_for(tmp_path / "stopped")
    with pytest.raises(StoppedHereError):
        obtained(settings, dataset, stop_at=7)
    folder = tmp_path / "stopped" / "backbone"
    assert not (folder / "training.json").exists()
    resumed, seen = obtained(settings, dataset)
    # Every fifth epoch is written down.
    assert seen == epochs[5:]
    assert whole is not None
    assert resumed is not None
    assert resumed.parameter_hash == whole.parameter_hash
    assert not (folder / "checkpoint").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"backbone": "gru4rec"}, {"data": None}, {}])
def test_what_was_made_otherwise_is_made_anew(
    change: dict[str, object], settings_for: Settings, dataset: Dataset, tmp_path: Path
) -> None:
    first, _ = obtained(settings_for(tmp_path), dataset)
    record = tmp_path / "backbone" / "training.json"
    if not change:
        record.write_text("{")
    if "data" in change:
        dataset = Dataset("fewer", dataset.catalog, dataset.train[:30], dataset.valid, dataset.test)
    other, seen = obtained(settings_for(tmp_path, **change), dataset)
    assert seen
    assert first is not None
    assert other is not None
    assert (other.parameter_hash == first.parameter_hash) == (not change)
    assert json.loads(record.read_text())["kind"] == other.backbone_kind


def test_none_is_wanted_and_none_is_made(
    settings_for: Settings, dataset: Dataset, tmp_path: Path
) -> None:
    assert obtained(settings_for(tmp_path, backbone=None), dataset) == (None, [])
    assert not list(tmp_path.iterdir())


def test_test_sessions_teach_it_nothing(
    settings_for: Settings, dataset: Dataset, tmp_path: Path
) -> None:
    made, _ = obtained(settings_for(tmp_path / "a"), dataset)
    turned = [each.model_copy(update={"target": each.candidates[0]}) for each in dataset.test]
    other = Dataset("other", dataset.catalog, dataset.train, dataset.valid, tuple(turned))
    same, _ = obtained(settings_for(tmp_path / "b"), other)
    assert made is not None
    assert same is not None
    assert made.parameter_hash == same.parameter_hash


def test_it_is_trained_for_the_candidates_it_is_to_rank(tmp_path: Path) -> None:
    offsets = {
        negatives: backbone_config(
            RunSettings.model_validate({"negatives": negatives})
        ).popularity_offset
        for negatives in ("popularity", "uniform")
    }
    assert offsets == {"popularity": 0.75, "uniform": 0.0}


def test_none_has_a_word_wherever_settings_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.upper().startswith("AGENTREC_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    assert load_settings()[0].backbone == "sasrec"
    assert load_settings({"backbone": "none"})[0].backbone is None
    file = tmp_path / "settings.toml"
    file.write_text('backbone = "none"\n')
    assert load_settings({}, file)[0].backbone is None
    assert load_settings({"backbone": "gru4rec"}, file)[0].backbone == "gru4rec"
    monkeypatch.setenv("AGENTREC_BACKBONE", "none")
    assert load_settings()[0].backbone is None
    with pytest.raises(InputError, match="sasrec") as caught:
        load_settings({"backbone": "bert4rec"})
    assert caught.value.field == "backbone"


def test_a_run_from_before_there_was_one_goes_on_without(
    settings_for: Settings, dataset: Dataset, tmp_path: Path
) -> None:
    def manifest(settings: RunSettings) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(
            json.dumps(manifest_of(settings, dataset, Prompts.load(), "openai:m"))
        )
        return record

    new = manifest(settings_for(tmp_path, llm="openai:m"))
    assert new["identity"]["backbone"] == "sasrec"
    assert load_settings({}, below=settings_in(new))[0].backbone == "sasrec"
    old = manifest(settings_for(tmp_path, llm="openai:m", backbone=None))
    assert "backbone" not in old["identity"]
    found = load_settings({"run": tmp_path}, below=settings_in(old))[0]
    assert found.backbone is None
    assert run_name(manifest(found)) == run_name(old)


def test_policies_are_compared_with_it(finished: Any, tmp_path: Path) -> None:
    run = RunCopy.of(finished.folder, tmp_path / "run")
    found = run.told("compare", "no_hint", "--seeds=1")
    rows = {one["name"]: one for one in found["policies"]}
    assert list(rows) == ["no_hint", "popularity", "item_knn", "text_similarity", "sasrec"]
    for name, row in rows.items():
        assert row["given"] == 0
        known = finished.report.methods[name]["ndcg@10"].mean
        assert row["ndcg"]["mean"] == pytest.approx(known, abs=1e-6)
    gain = rows["sasrec"]["ndcg"]["mean"] - rows["no_hint"]["ndcg"]["mean"]
    assert rows["sasrec"]["over_no_hint"]["mean"] == pytest.approx(gain, abs=1e-6)
    said = run.done("compare", "no_hint", "--seeds=1", "--split=valid")
    assert "sasrec: without a language model" in " ".join(said.split())
    assert "chose when the training of sasrec ends" in " ".join(said.split())
