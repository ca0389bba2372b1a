"""Texts that could not be written: told, written down, and not learnt from."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from app.preference_runs import QUICK, Settings, quiet
from rich.console import Console

from agentrec.app.preferences.run_collection import train_reward_model
from agentrec.app.preferences.text_comparison import evaluate_texts
from agentrec.errors import ModelCallError
from agentrec.graphs.preferences.preference_sampling import SampledText, sample_preference
from agentrec.policies.reward_model.training import RewardModelTrainer
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings

Fail = Callable[[Callable[[Session], bool]], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Have the texts of some sessions fail."""

    def failing(which: Callable[[Session], bool]) -> None:
        async def attempted(session: Session, *given: object, **options: object) -> SampledText:
            if which(session):
                return SampledText("", "the model is asleep")
            return await sample_preference(session, *given, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("agentrec.app.preferences.text_writing.sample_preference", attempted)

    return failing


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """From which sessions the backbone and the adapter learn, and what is learnt by."""
    seen: dict[str, list[str]] = {}
    backbone, adapter = BackboneTrainer.fit, RewardModelTrainer.fit

    def ids(sessions: Sequence[Session]) -> list[str]:
        return [one.session_id for one in sessions]

    def of_backbone(self: BackboneTrainer, train: Sequence[Session], *rest, **options):  # type: ignore[no-untyped-def]
        seen["backbone"] = ids(train)
        return backbone(self, train, *rest, **options)

    def of_adapter(self: RewardModelTrainer, recommender, train, told, valid, others, **options):  # type: ignore[no-untyped-def]
        seen["train"], seen["valid"] = ids(train), ids(valid)
        assert all(vector.any() for vector in (*told, *others))
        return adapter(self, recommender, train, told, valid, others, **options)

    monkeypatch.setattr(BackboneTrainer, "fit", of_backbone)
    monkeypatch.setattr(RewardModelTrainer, "fit", of_adapter)
    return seen


def settings_of_copy(finished: Path, folder: Path, settings_for: Settings) -> RunSettings:
    shutil.copytree(finished, folder)
    return settings_for(folder, prefer=QUICK)


async def test_sessions_without_a_text_teach_the_adapter_nothing(
    finished, settings_for: Settings, tmp_path: Path, fail: Fail, learnt: dict[str, list[str]]
) -> None:
    settings = settings_of_copy(finished.folder, tmp_path / "run", settings_for)
    assert settings.prefer.reward_texts > 1
    fail(lambda session: session.session_id.endswith("3"))
    said = io.StringIO()
    await train_reward_model(settings, Console(file=said, width=300))
    # Of 60 training sessions the first 24 are learnt from; the backbone needs no text of them.
    assert len(learnt["backbone"]) == 24
    left_out = [one for one in learnt["backbone"] if one.endswith("3")]
    texts = settings.prefer.reward_texts
    assert learnt["train"] == texts * [one for one in learnt["backbone"] if one not in left_out]
    assert left_out
    assert not [one for one in learnt["valid"] if one.endswith("3")]
    record = json.loads((RunFolder(tmp_path / "run").reward_model / "training.json").read_text())
    assert record["sessions"] == {"train": 24, "valid": 16}
    failed = texts * len(left_out)
    assert record["failures"] == {"train": failed, "valid": texts * 16 - len(learnt["valid"])}
    told = f"Texts to learn from: {failed} of {texts * 24} could not be written"
    assert told in said.getvalue()
    assert "The first: the model is asleep" in said.getvalue()
    # It stays what it is, also when the texts would come now.
    fail(lambda _: False)
    learnt.clear()
    await train_reward_model(settings, quiet())
    assert learnt == {}


async def test_without_any_text_there_is_no_reward_model(
    finished, settings_for: Settings, tmp_path: Path, fail: Fail, learnt: dict[str, list[str]]
) -> None:
    settings = settings_of_copy(finished.folder, tmp_path / "run", settings_for)
    fail(lambda _: True)
    with pytest.raises(ModelCallError, match="no text to learn from") as caught:
        await train_reward_model(settings, quiet())
    assert "\n" not in str(caught.value)
    assert learnt == {}
    assert not (RunFolder(tmp_path / "run").reward_model / "training.json").exists()


async def test_a_report_says_how_many_texts_it_lacks(
    collected: Path, settings_for: Settings, tmp_path: Path, fail: Fail
) -> None:
    settings = settings_of_copy(collected, tmp_path / "run", settings_for)
    fail(lambda _: True)
    said = io.StringIO()
    report = await evaluate_texts(settings, [], Console(file=said, width=300))
    assert report.counts["texts failed"] == 2 * 80
    assert "Texts of the run's model: 80 of 80 could not be written" in said.getvalue()
    # Without texts the recommender is its backbone, and the model ranks unaided.
    assert report.methods["told"] == report.methods["told foreign"] == report.methods["sasrec"]
    ranked = [report.methods[name] for name in ("reranked", "reranked foreign", "llm")]
    assert ranked[0] == ranked[1] == ranked[2]
    assert report.own_preferred == {}
    fail(lambda _: False)
    whole = await evaluate_texts(settings, [], quiet())
    assert whole.counts["texts failed"] == 0
    assert whole.methods["told"] != whole.methods["sasrec"]
    assert list(whole.own_preferred) == ["the run's model"]
