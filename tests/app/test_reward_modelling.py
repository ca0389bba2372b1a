"""When the reward model of a run is made anew, what it is made from, and who is asked beside it."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from app.preference_runs import QUICK, Settings, quiet, sha256
from pydantic import ValidationError
from rich.console import Console
from testing.answering import make_components, make_session

from agentrec import plugins
from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.preferences.reward_modelling import RECORD_FILE, obtain_reward_model, reward_of
from agentrec.app.preferences.run_collection import collect_in_run, opened
from agentrec.app.preferences.text_writing import texts_for
from agentrec.graphs.preferences.preference_sampling import SampledText
from agentrec.graphs.preferences.ranking_reward import RankingRewardModel
from agentrec.llm.gateway.requests import Sampling
from agentrec.policies.reward_model.knowledge_reward_model import KnowledgeRewardModel
from agentrec.policies.reward_model.reward_model_wrappers import (
    BatchedRewardModel,
    MixedRewardModel,
)
from agentrec.policies.reward_model.training import RewardModelTrainer
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import RunFolder
from agentrec.sessions import Session
from agentrec.settings.prefer_settings import PreferSettings
from agentrec.stores.pairs.export import read_pairs
from agentrec.testing.scripted_chat_model import ScriptedChatModel


class TrainedAnewError(Exception):
    """Somebody trained."""


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody train."""

    def fit(*_: object, **__: object) -> None:
        raise TrainedAnewError

    monkeypatch.setattr(RewardModelTrainer, "fit", fit)
    monkeypatch.setattr(BackboneTrainer, "fit", fit)


@pytest.fixture
def obtained(collected: Path, settings_for: Settings, tmp_path: Path) -> Callable[..., Any]:
    """The reward model of a run that has one, under other settings."""
    folder = tmp_path / "run"
    shutil.copytree(collected, folder)

    async def made(**changes: object) -> KnowledgeRewardModel:
        settings = settings_for(folder, prefer={**QUICK, **changes})
        async with opened(settings, quiet()) as parts:
            return await obtain_reward_model(parts, settings.prefer)

    return made


@pytest.mark.usefixtures("untrained")
async def test_how_pairs_are_made_is_nothing_to_the_reward_model(
    obtained: Callable[..., Any], tmp_path: Path
) -> None:
    record = RunFolder(tmp_path / "run").reward_model / RECORD_FILE
    before = sha256(record)
    model = await obtained()
    rules = {"most_pairs": 2, "min_gap": 0.3}
    for change in (
        {"rules": rules},
        {"samples": 2},
        {"max_sessions": 3},
        {"reward": "model"},
    ):
        assert (await obtained(**change)).parameter_hash == model.parameter_hash
    # What a text is to find is no part of the training, and part of what a reward is.
    other = await obtained(relevant="target")
    assert other.recommender.parameter_hash == model.recommender.parameter_hash
    assert other.parameter_hash != model.parameter_hash
    assert sha256(record) == before
    for change in ({"reward_texts": 2}, {"reward_model": {"epochs": 5}}):
        with pytest.raises(TrainedAnewError):
            await obtained(**change)


@pytest.mark.usefixtures("untrained")
async def test_other_rules_make_other_pairs_with_the_same_reward_model(
    collected: Path, settings_for: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(collected, folder)
    file = folder / "preferences" / "pairs.jsonl"
    before = read_pairs(file)
    file.unlink()
    rules = {"min_gap": 0, "min_margin": 0, "max_length_ratio": 100}
    prefer = {**QUICK, "samples": 4, "rules": {**rules, "most_pairs": 2}}
    await collect_in_run(settings_for(folder, prefer=prefer), quiet())
    after = read_pairs(file)
    assert {one.provenance.reward_model for one in (*before, *after)} == {
        before[0].provenance.reward_model
    }
    sessions = [pair.session_id for pair in after]
    assert max(map(sessions.count, sessions)) == 2
    assert len({pair.pair_id for pair in after}) == len(after) > len(before)


async def test_several_texts_of_a_session_are_drawn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Sampling | None]] = []

    async def attempted(
        session: Session, *_: object, sampling: Sampling | None, **__: object
    ) -> SampledText:
        asked.append((session.session_id, sampling))
        if len(asked) == 4:
            return SampledText("", "the model is asleep")
        return SampledText(f"text {len(asked)}")

    monkeypatch.setattr("agentrec.app.preferences.text_writing.sample_preference", attempted)
    said = io.StringIO()
    parts = cast(
        "OpenRun",
        SimpleNamespace(
            settings=SimpleNamespace(seed=5),
            display=ConsoleProgress(Console(file=said, width=300)),
            components=make_components(ScriptedChatModel()),
            concurrency=1,
        ),
    )
    sessions = [make_session(n) for n in range(2)]
    written = await texts_for(
        "Texts", sessions, ["genre"], parts, share=0.7, temperature=0.5, samples=3
    )
    # The first of every session, then the second of every one, and the third.
    assert written == ["text 1", "text 2", "text 3", None, "text 5", "text 6"]
    assert [session_id for session_id, _ in asked] == ["s0", "s1"] * 3
    draws = [sampling for _, sampling in asked if sampling is not None]
    assert len({sampling.seed for sampling in draws}) == len(draws) == 6
    assert {sampling.temperature for sampling in draws} == {0.5}
    assert "Texts: 1 of 6 could not be written" in said.getvalue()
    # With fewer texts a session these are the first ones of the same draws: paid for once.
    del asked[:]
    await texts_for("Texts", sessions, ["genre"], parts, share=0.7, temperature=0.5)
    assert [sampling for _, sampling in asked] == draws[:2]


def test_who_says_what_a_text_is_worth_is_set() -> None:
    components = make_components(ScriptedChatModel())
    parts = cast("OpenRun", SimpleNamespace(components=components))
    told = cast("KnowledgeRewardModel", SimpleNamespace(parameter_hash="told"))

    def asked(**changes: object) -> Any:
        return reward_of(told, parts, PreferSettings.model_validate(changes))

    recommender = asked(reward="recommender")
    assert isinstance(recommender, BatchedRewardModel)
    assert recommender.parameter_hash == "told"
    set_otherwise = {"relevant": "target", "shown_share": 0.5, "reward_model": {"cutoff": 5}}
    model = asked(reward="model", **set_otherwise)
    assert isinstance(model, RankingRewardModel)
    expected = RankingRewardModel(components, relevant="target", shown_share=0.5, cutoff=5)
    assert model.parameter_hash == expected.parameter_hash
    both = asked(reward="both", **set_otherwise)
    assert isinstance(both, MixedRewardModel)
    halves = MixedRewardModel([(BatchedRewardModel(told), 1.0), (expected, 1.0)])
    assert both.parameter_hash == halves.parameter_hash
    assert asked().parameter_hash == asked(reward="both", relevant="rest").parameter_hash


def test_a_reward_model_of_an_installed_package_is_named_in_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("theirs", f"{__name__}:reward_of_theirs", "agentrec.reward_models")
    monkeypatch.setattr(
        plugins, "entry_points", lambda *, group: [point] if group == point.group else []
    )
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    parts = cast("OpenRun", SimpleNamespace(components="components"))
    prefer = PreferSettings.model_validate({"reward": "theirs"})
    given = cast("KnowledgeRewardModel", None)
    assert cast("object", reward_of(given, parts, prefer)) == ("theirs", "components")
    with pytest.raises(ValidationError, match=r"reward models: .*theirs"):
        PreferSettings.model_validate({"reward": "nobody"})


def reward_of_theirs(components: object) -> object:
    return "theirs", components
