"""The whole loop with the embedded model, on sessions in which a hint truly helps."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from safetensors import safe_open

from agentrec.app.learning.demo import run_demo
from agentrec.data import load_folder
from agentrec.errors import InputError
from agentrec.graphs.hint_learning.reflection import HINTS_PER_ERROR
from agentrec.hints import Hint
from agentrec.policies.ppo.policy import ScoringPPOPolicy
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions

METHODS = [
    "random",
    "popularity",
    "item_knn",
    "text_similarity",
    "sasrec",
    "no_hint",
    "random_hint",
    "best_single_hint",
    "policy",
    "noise_control",
]

Settings = Callable[..., RunSettings]


def hints_of(folder: Path) -> list[Hint]:
    lines = (folder / "hints.jsonl").read_text("utf-8").splitlines()
    return [Hint.model_validate_json(line) for line in lines]


async def run(settings: RunSettings) -> str:
    output = io.StringIO()
    await run_demo(settings, Console(file=output, width=140))
    return output.getvalue()


def test_metrics_hold_every_method_and_every_call(finished) -> None:
    report = json.loads((finished.folder / "metrics.json").read_text())
    assert list(report["methods"]) == METHODS
    assert "policy - no_hint" in report["differences"]
    for row in report["methods"].values():
        assert all(0 <= value["low"] <= value["high"] <= 1 for value in row.values())
    assert report["sessions"] == 80
    assert set(report["llm_calls"]) == {
        "made",
        "cached",
        "saved_by_reward_table",
        "input_tokens",
        "output_tokens",
    }


def test_every_product_of_the_run_is_there(finished) -> None:
    hint_ids = tuple(hint.hint_id for hint in hints_of(finished.folder))
    assert hint_ids
    for split, count in (("train", 40), ("valid", 16)):
        table = RewardTable.load(finished.folder / f"rewards.{split}.parquet")
        assert table.hint_ids == hint_ids
        assert len(table.session_ids) == count
    for name in ("scoring_ppo", "noise_control"):
        folder = finished.folder / "policies" / name
        assert set(ScoringPPOPolicy.load(folder).hint_ids) == set(hint_ids)
        (file,) = folder.glob("*.safetensors")
        with safe_open(file, framework="np") as opened:
            assert list(opened.keys())
        assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
        record = json.loads((folder / "training.json").read_text())
        assert record["sessions"] == {"train": 40, "picking": 8, "judging": 8}
        assert not (folder / "checkpoint").exists()
    backbone = SequentialRecommender.load(finished.folder / "backbone")
    assert (backbone.backbone_kind, len(backbone.item_ids)) == ("sasrec", 60)
    manifest = json.loads((finished.folder / "manifest.json").read_text())
    assert manifest["identity"]["seed"] == 0
    assert {"data_hash", "prompts_hash", "llm", "policy"} <= set(manifest["identity"])
    assert manifest["data"]["sessions"] == {"train": 60, "valid": 16, "test": 80}
    assert manifest["versions"]["torch"]
    assert {"limits", "retries", "budget", "prices"} <= set(manifest["conditions"])
    usage = json.loads((finished.folder / "usage.json").read_text())
    assert usage["total"]["calls"] == finished.report.llm_calls["made"]
    answers = json.loads((finished.folder / "answers.json").read_text())
    assert (
        list(answers["quality"])
        == list(answers["position_bias"])
        == METHODS[METHODS.index("no_hint") :]
    )


def test_hints_come_from_training_sessions_the_model_got_wrong(
    finished, planted: PlantedSessions
) -> None:
    dataset = load_folder(planted.folder)
    train = {session.session_id: session for session in dataset.train}
    for hint in hints_of(finished.folder):
        assert hint.provenance is not None
        session = train[hint.provenance.session_id]
        assert hint.provenance.ndcg_before == 0.0
        assert hint.provenance.ndcg_after > 0.0
        assert hint.provenance.diagnosis
        assert dataset.catalog[session.target or ""].title not in hint.text
        assert hint.evidence is not None
        assert hint.evidence.sessions == 16
        assert hint.evidence.low > 0


def test_the_loop_learns_what_was_planted(finished) -> None:
    gain = finished.report.differences["policy - no_hint"]["ndcg@10"]
    assert gain.low > 0
    assert finished.report.differences["policy - noise_control"]["ndcg@10"].mean > 0


def test_the_number_of_calls_is_the_number_of_distinct_prompts(finished, rows_of) -> None:
    calls = finished.report.llm_calls
    assert calls["made"] == len(rows_of(finished.folder))
    assert calls["cached"] > 0
    assert calls["saved_by_reward_table"] > 10 * calls["made"]


def test_no_test_or_validation_session_was_learned_from(finished) -> None:
    table = RewardTable.load(finished.folder / "rewards.train.parquet")
    assert all(session_id.startswith("train-") for session_id in table.session_ids)
    # Policies are chosen on validation sessions alone; no file holds a reward of a test session.
    valid = RewardTable.load(finished.folder / "rewards.valid.parquet")
    assert all(session_id.startswith("valid-") for session_id in valid.session_ids)
    for hint in hints_of(finished.folder):
        assert hint.provenance is not None
        assert hint.provenance.session_id.startswith("train-")


def test_what_came_out_is_printed(finished) -> None:
    for method in METHODS:
        assert method in finished.output
    for hint in hints_of(finished.folder):
        assert hint.text in finished.output
    assert "policy helps" in finished.output
    assert str(finished.folder) in finished.output.replace("\n", "")


async def test_a_finished_run_computes_nothing_again(
    finished, settings_for: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*") if p.is_file()}

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for name in (
        "assembly.know_catalog",
        "assembly.teach_embedded_model",
        "app.learning.demo.ClosedLoop",
    ):
        monkeypatch.setattr(f"agentrec.{name}", never)
    output = await run(settings_for(finished.folder))
    assert "nothing is computed again" in output
    assert before == {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*") if p.is_file()}


async def test_lost_hints_come_back_from_the_journal_without_a_call(
    finished, settings_for: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    shutil.rmtree(folder / "knowledge-base")
    (folder / "hints.jsonl").unlink()
    (folder / "metrics.json").unlink()

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("a call was made")

    monkeypatch.setattr("agentrec.embedded_model.chat_model.CatalogChatModel._agenerate", never)
    await run(settings_for(folder))
    assert hints_of(folder) == hints_of(finished.folder)
    again = json.loads((folder / "metrics.json").read_text())
    first = json.loads((finished.folder / "metrics.json").read_text())
    assert again["llm_calls"].pop("cached") > first["llm_calls"].pop("cached")
    assert again == first


@pytest.mark.parametrize("lost", ["hints.jsonl", "knowledge-base", "exploration.json"])
async def test_what_was_deleted_alone_comes_back(
    lost: str, finished, settings_for: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    gone = folder / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    await run(settings_for(folder))
    assert gone.exists()
    assert hints_of(folder) == hints_of(finished.folder)


async def test_the_exploration_adds_up(finished) -> None:
    summary = json.loads((finished.folder / "exploration.json").read_text())
    assert summary["stored"] == len(hints_of(finished.folder)) > 0
    assert 0 < summary["errors"] <= summary["explored"]
    assert summary["errors"] * HINTS_PER_ERROR >= summary["stored"] + sum(
        summary["refused"].values()
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [({"seed": 1}, "seed"), ({"num_probes": 15}, "num_probes"), ({"max_hints": 7}, "max_hints")],
)
async def test_another_runs_folder_is_refused_and_left_as_it_is(
    finished, settings_for: Settings, change: dict[str, object], field: str
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}
    with pytest.raises(InputError) as caught:
        await run(settings_for(finished.folder, **change))
    assert caught.value.field == field
    assert before == {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}


async def test_what_does_not_decide_the_result_may_change(finished, settings_for: Settings) -> None:
    await run(
        settings_for(
            finished.folder,
            limits={"max_concurrency": 3, "requests_per_minute": 60.0},
            retries={"max_attempts": 1},
            budget={"money": 1},
            prices={"currency": "EUR"},
            llm={"timeout": 5},
        )
    )
