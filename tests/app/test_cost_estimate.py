"""The calls that a run will make, counted before it makes any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.app.learning.cost_estimate import plan_run
from agentrec.data import load_folder
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.rewards.successive_halving import SuccessiveHalving
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions

Settings = Callable[..., RunSettings]


async def planned(settings: RunSettings) -> dict[str, int]:
    dataset = load_folder(settings.data or Path())
    plan = await plan_run(settings, dataset, Prompts.load())
    return {each.node: each.calls for each in plan.calls}


@pytest.mark.parametrize(
    ("policy", "train", "valid"),
    [
        ({}, 40 * 20, 16 * 21),
        ({"halving": True}, 40 * 9, 16 * 21),
        ({"nearest": 3}, 40 * 3, 16 * 4),
        ({"nearest": 30}, 40 * 20, 16 * 21),
        ({"nearest": 3, "halving": True}, 40 * 9, 16 * 4),
    ],
    ids=str,
)
async def test_rewards_cost_what_the_policy_is_trained_on(
    policy: dict[str, object], train: int, valid: int, settings_for: Settings, tmp_path: Path
) -> None:
    assert SuccessiveHalving().calls_per_row(20) == 10
    calls = await planned(settings_for(tmp_path, max_hints=20, policy=policy))
    assert (calls["reward hints, train"], calls["reward hints, valid"]) == (train, valid)


async def test_few_hints_are_all_tried_with_halving_too(
    settings_for: Settings, tmp_path: Path
) -> None:
    calls = await planned(settings_for(tmp_path, max_hints=6, policy={"halving": True}))
    assert calls == await planned(settings_for(tmp_path, max_hints=6))


async def test_no_more_validation_sessions_than_are_rewarded(
    settings_for: Settings, tmp_path: Path
) -> None:
    calls = await planned(settings_for(tmp_path, max_hints=6, max_rewarded=10, llm={"shuffles": 2}))
    assert calls["reward hints, train"] == 2 * 10 * 6
    assert calls["reward hints, valid"] == 2 * 10 * 7


@pytest.fixture
def dry_run(
    planted: PlantedSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def called(*options: str) -> Result:
        arguments = [f"--data={planted.folder}", "--embeddings=hashed", "--max-rewarded=40"]
        return CliRunner().invoke(app, ["demo", *arguments, "--dry-run", *options])

    return called


def test_the_command_line_names_policy_and_halving(
    dry_run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "agentrec.toml").write_text("[policy]\nhalving = true\nsettings.iterations = 3")
    few, all_ = dry_run("--policy=linucb"), dry_run("--no-halving")
    for result, message in ((few, "9 of them each"), (all_, "20 of them each")):
        assert result.exit_code == 0, result.output
        assert f"20 hints, 40 sessions rewarded with {message}" in " ".join(result.stdout.split())
    (tmp_path / "agentrec.toml").unlink()
    assert dry_run("--halving").stdout.splitlines()[:-1] == few.stdout.splitlines()[1:-1]
    assert not (tmp_path / "runs").exists()


def test_a_kind_that_is_none_is_told_before_anything_else(dry_run: Callable[..., Result]) -> None:
    for kind in ("ppo", ""):
        result = dry_run(f"--policy={kind}")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("error: field 'policy.kind'")
        assert result.stderr.endswith("(--policy)\n")
        assert result.stderr.count("\n") == 1
