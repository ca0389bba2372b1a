"""`agentrec prefer` and `rewardmodel`: from a run folder to pairs, an export and a report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from app.preference_runs import QUICK, Settings, quiet, sha256
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.app.preferences.run_collection import collect_in_run, train_reward_model
from agentrec.app.preferences.text_comparison import evaluate_texts
from agentrec.runs.run_folder import RunFolder
from agentrec.stores.pairs.export import read_pairs


class StopHereError(Exception):
    """Somebody pulls the plug."""


def test_pairs_lie_in_the_run_folder_with_what_came_of_collecting(collected: Path) -> None:
    pairs = read_pairs(collected / "preferences" / "pairs.jsonl")
    told = json.loads((collected / "preferences" / "collection.json").read_text())
    assert 0 < len(pairs) == told["pairs"]
    # Of 60 training sessions, the earliest 24 teach the reward model.
    assert told["sessions"] == 36
    assert told["texts"] == 3 * 36
    assert told["pairs"] + sum(told["refused"].values()) == 36
    assert told["mean_best"] >= told["mean_value"] >= told["mean_worst"]
    for pair in pairs:
        assert pair.chosen_reward.order > pair.rejected_reward.order  # type: ignore[union-attr]
        assert pair.provenance.samples == 3


async def test_collecting_again_asks_nothing_and_keeps_the_file(
    collected: Path, settings_for: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(collected, folder)
    file = folder / "preferences" / "pairs.jsonl"
    before = sha256(file)

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("a call was made")

    monkeypatch.setattr("agentrec.embedded_model.chat_model.CatalogChatModel._agenerate", never)
    await collect_in_run(settings_for(folder, prefer=QUICK), quiet())
    assert sha256(file) == before
    # What was lost comes back the same, without a call.
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    await collect_in_run(settings_for(folder, prefer=QUICK), quiet())
    assert sha256(file) == before


async def test_no_record_outlives_the_model_that_it_speaks_of(
    collected: Path, settings_for: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(collected, folder)
    model, record = folder / "reward-model" / "policy.json", folder / "reward-model/training.json"
    before, recorded = sha256(model), sha256(record)

    def cut_off(*_: object) -> None:
        raise StopHereError

    other = {**QUICK, "reward_model": {"epochs": 2, "hidden": 16}}
    with monkeypatch.context() as patch:
        patch.setattr("agentrec.app.preferences.reward_modelling.write_atomically", cut_off)
        with pytest.raises(StopHereError):
            await train_reward_model(settings_for(folder, prefer=other), quiet())
    assert sha256(model) != before
    assert not record.exists()
    # Who goes back to what was recorded gets that, and not what was made since.
    await train_reward_model(settings_for(folder, prefer=QUICK), quiet())
    assert (sha256(model), sha256(record)) == (before, recorded)


async def test_texts_are_judged_by_rankings_of_sessions(
    collected: Path, settings_for: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(collected, folder)
    settings = settings_for(folder, prefer=QUICK)
    report = await evaluate_texts(settings, [], quiet())
    methods = ["sasrec", "llm", "told", "told foreign", "reranked", "reranked foreign"]
    differences = {
        "told - sasrec",
        "told - told foreign",
        "reranked - llm",
        "reranked - reranked foreign",
    }
    # Every whole run has a live policy, which may well choose no hint.
    of_hints = ["hint", "hint and text"]
    assert list(report.methods) == [*methods[:2], of_hints[0], *methods[2:], of_hints[1]]
    assert set(report.differences) == {
        *differences,
        "hint - llm",
        "hint and text - hint",
        "hint and text - reranked",
    }
    for row in (*report.methods.values(), *report.differences.values()):
        assert list(row) == ["ndcg@10", "map@10", "rest ndcg@10", "rest map@10"]
    assert len(report.sessions) == 80
    assert all(len(each) == 80 for row in report.values.values() for each in row.values())
    assert 0 <= report.own_preferred["the run's model"].mean <= 1
    assert len(json.loads((folder / "texts.json").read_text())["sessions"]) == 80
    # Settings are chosen by other sessions, which leave the report of the test alone.
    test = (folder / "texts.json").read_bytes()
    shutil.rmtree(RunFolder(folder).live)
    valid = await evaluate_texts(settings, [], quiet(), "valid")
    assert all(one.startswith("valid-") for one in valid.sessions)
    assert list(valid.methods) == methods
    assert set(valid.differences) == differences
    assert len(json.loads((folder / "texts.valid.json").read_text())["sessions"]) == 16
    assert (folder / "texts.json").read_bytes() == test


def test_statistics_and_exports_come_from_the_run(collected: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    told = runner.invoke(app, ["prefer", "stats", "--run", str(collected), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["pairs"] > 0
    shown = runner.invoke(app, ["prefer", "stats", "--run", str(collected)])
    assert "Reward pairs" in shown.stdout
    for name in ("pairs.jsonl", "pairs.parquet"):
        out = tmp_path / name.partition(".")[2] / name
        made = runner.invoke(app, ["prefer", "export", str(out), "--run", str(collected)])
        assert made.exit_code == 0, made.output
        assert len(read_pairs(out)) == json.loads(told.stdout)["pairs"]
        assert (out.parent / "README.md").read_text().startswith("---")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["prefer", "stats", "--run", "nowhere"], "no file of pairs"),
        (["prefer", "export", "x.jsonl", "--run", "nowhere"], "no file of pairs"),
        (["prefer", "collect", "--backbone", "bert", "--run", "nowhere"], "prefer.backbone"),
        (["rewardmodel", "train", "--adapter", "big", "--run", "nowhere"], "reward_model.adapter"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
    assert not any(tmp_path.iterdir())
