"""Trainings that are stopped go on and come to the same, and only what passes goes live."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from app.mortal_trainer import ITERATIONS, SMALL, Watched, data_of, planted, trained

from agentrec.app.learning.run_rewards import TrainingData
from agentrec.app.policies.training import TrainingRecord, let_live, train_policy
from agentrec.contracts import HintPolicy
from agentrec.errors import InputError
from agentrec.policies.hint_policies.untrained import RandomHintPolicy
from agentrec.policies.policy_files import PolicyOnDisk, StorableHintPolicy, read_policy
from agentrec.policies.policy_kinds import load_policy
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.policy_settings import PolicySettings
from agentrec.testing.planted_sessions import pure_noise_rewards


def digest(policy: object) -> str:
    assert isinstance(policy, PolicyOnDisk)
    return policy.parameter_hash


def names(folder: Path) -> set[str]:
    return {file.name.partition("-")[0] for file in folder.iterdir()}


async def fitted(
    kind: str, data: TrainingData, run: RunFolder, name: str = ""
) -> StorableHintPolicy:
    settings = PolicySettings(kind=kind)
    folder = run.policy(name or kind)
    return await train_policy(name or kind, settings, data, folder, Watched(), seed=0)


@pytest.mark.parametrize("kind", ["categorical_ppo", "scoring_ppo"])
async def test_a_training_that_is_cancelled_goes_on_and_comes_to_the_same(
    kind: str, tmp_path: Path
) -> None:
    whole = Watched()
    expected = digest(await trained(tmp_path / "whole", whole, kind))
    assert whole.seen == [*range(1, ITERATIONS + 1), 1]
    loop = asyncio.get_running_loop()

    def stop_at_7(done: int) -> None:
        if done == 7:
            loop.call_soon_threadsafe(task.cancel)
            time.sleep(0.2)  # The check that follows is to find it.

    stopped = Watched(stop_at_7)
    task = asyncio.create_task(trained(tmp_path / "mine", stopped, kind))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 7 <= stopped.seen[-1] < ITERATIONS
    assert names(tmp_path / "mine") == {"checkpoint"}, "half a policy is none"
    on = Watched()
    assert digest(await trained(tmp_path / "mine", on, kind)) == expected
    assert on.seen == [*range(6, ITERATIONS + 1), 1]
    for folder in (tmp_path / "whole", tmp_path / "mine"):
        assert names(folder) == {"policy.json", "weights", "training.json", "curve.png"}
        assert digest(load_policy(folder)) == expected


async def test_a_training_that_is_killed_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    script = Path(__file__).with_name("mortal_trainer.py")
    command = [sys.executable, str(script), str(tmp_path / "mine"), "8"]
    killed = await asyncio.to_thread(subprocess.run, command, timeout=600)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path / "mine") == {"checkpoint"}
    on = Watched()
    found = digest(await trained(tmp_path / "mine", on))
    assert on.seen == [*range(6, ITERATIONS + 1), 1]
    assert found == digest(await trained(tmp_path / "whole", Watched()))
    assert not (tmp_path / "mine" / "checkpoint").exists()


async def test_what_another_training_left_is_passed_over(tmp_path: Path) -> None:
    expected = digest(await trained(tmp_path / "whole", Watched()))
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(
        trained(
            tmp_path / "mine",
            Watched(lambda done: done == 6 and loop.call_soon_threadsafe(task.cancel)),  # type: ignore[arg-type, return-value]
            "categorical_ppo",
        )
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    on = Watched()
    assert digest(await trained(tmp_path / "mine", on)) == expected
    assert on.seen[0] == 1


async def test_the_record_says_what_it_was_made_with(tmp_path: Path) -> None:
    await trained(tmp_path, Watched())
    record = TrainingRecord.beside(tmp_path)
    assert record is not None
    assert record.policy == PolicySettings(kind="scoring_ppo", settings=SMALL)
    assert record.sessions == {"train": 200, "picking": 50, "judging": 50}
    assert (record.seed, record.hints, record.share_measured) == (1, 5, 1.0)
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(InputError, match="not the record of a training"):
        TrainingRecord.beside(tmp_path)


async def test_a_policy_of_another_kind_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    await trained(tmp_path, Watched())
    (tmp_path / "evaluation.test.json").write_text("{}")
    settings = PolicySettings(kind="linucb", nearest=2)
    await train_policy("mine", settings, planted(), tmp_path, Watched(), seed=1)
    assert names(tmp_path) == {"policy.json", "weights", "training.json"}
    assert read_policy(tmp_path).kind == "linucb"
    record = TrainingRecord.beside(tmp_path)
    assert record is not None
    assert record.policy == settings


async def test_what_passes_goes_live_with_its_record(tmp_path: Path) -> None:
    run, data = RunFolder(tmp_path), planted()
    policy = await fitted("value_regression", data, run)
    verdict = let_live(run, "value_regression", policy, data, seed=0)
    assert (verdict.live, verdict.wanted_passed) == ("value_regression", True)
    assert digest(load_policy(run.live)) == digest(policy)
    assert TrainingRecord.beside(run.live) == TrainingRecord.beside(run.policy("value_regression"))
    assert json.loads(run.gate.read_text())["live"] == "value_regression"


@pytest.mark.parametrize("kind", ["value_regression", "best_single", "linucb"])
async def test_what_was_trained_on_noise_does_not_go_live(kind: str, tmp_path: Path) -> None:
    run, data = RunFolder(tmp_path), data_of(pure_noise_rewards(300, 5, 12, seed=5))
    good = planted()
    let_live(run, "mine", await fitted("value_regression", good, run, "mine"), good, seed=0)
    (run.live / "evaluation.test.json").write_text("{}")
    policy = await fitted(kind, data, run)
    verdict = let_live(run, kind, policy, data, seed=0)
    assert (verdict.live, verdict.wanted_passed) == ("no_hint", False)
    assert read_policy(run.live).kind == "no_hint"
    record = TrainingRecord.beside(run.live)
    assert record is not None
    assert record.policy.kind == "no_hint", "not that of what was live before"
    assert names(run.live) == {"policy.json", "weights", "training.json"}


async def test_a_fallback_is_offered_what_it_was_judged_with(tmp_path: Path) -> None:
    run, data = RunFolder(tmp_path), planted()
    helped = data.judging.rewards.copy()
    helped[:, 1:] = 0.1
    helped[:, 2:] = -0.1
    data = replace(
        data,
        **{
            name: replace(getattr(data, name), rewards=helped[:50])
            for name in ("picking", "judging")
        },
    )
    settings = PolicySettings(kind="random", nearest=5)
    policy = await train_policy("any", settings, data, run.policy("any"), Watched(), seed=0)
    assert isinstance(policy, RandomHintPolicy)
    assert let_live(run, "any", policy, data, seed=0).live == "best_single"
    record = TrainingRecord.beside(run.live)
    assert record is not None
    assert (record.policy.kind, record.policy.nearest) == ("best_single", 5)
    assert read_policy(run.live).kind == "fixed"


@pytest.mark.parametrize("kind", ["scoring_ppo", "linucb"])
async def test_a_folder_that_cannot_be_written_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("in the way")
    folder = RunFolder(tmp_path).policy("mine")
    settings = PolicySettings(kind=kind, settings=SMALL if kind == "scoring_ppo" else {})
    with pytest.raises(InputError, match="cannot be written") as caught:
        await train_policy("mine", settings, planted(), folder, Watched(), seed=0)
    assert caught.value.file == folder


def test_a_live_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written") as caught:
        let_live(RunFolder(tmp_path), "any", RandomHintPolicy(0), planted(), seed=0)
    assert caught.value.file == tmp_path / "live"


async def test_what_cannot_be_stored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trainer:
        def fit(self, *_: object, **__: object) -> HintPolicy:
            return object()  # type: ignore[return-value]

    monkeypatch.setattr(PolicySettings, "trainer", lambda *_: Trainer())
    with pytest.raises(InputError, match="'linucb' cannot be stored"):
        await fitted("linucb", planted(), RunFolder(tmp_path))
    assert not (tmp_path / "policies").exists()
