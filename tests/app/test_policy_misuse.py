"""``agentrec policy`` used wrongly: one line that says what, exit code 2, and nothing changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from app.run_copies import RunCopy
from click.testing import Result
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.testing.planted_sessions import write_planted_sessions

# What pydantic and Python say, and people need not read.
_INTERNALS = (
    "Value error",
    "Input should",
    "Extra inputs",
    "validation error",
    "Traceback",
    "NoneType",
    "indices",
    "dictionary",
    "Errno",
    "(--debug",
)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(finished, tmp_path: Path) -> RunCopy:
    return RunCopy.of(finished.folder, tmp_path / "run")


@pytest.fixture(scope="module")
def untouched(finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunCopy]:
    """A run that no test of a module changes, and a look that none did."""
    copy = RunCopy.of(finished.folder, tmp_path_factory.mktemp("runs") / "untouched")
    before, calls = copy.kept(), copy.calls
    yield copy
    assert (copy.kept(), copy.calls) == (before, calls)


def refused(result: Result, *told: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: "), result.output
    assert result.stderr.count("\n") == 1, result.stderr
    for words in told:
        assert words in result.stderr
    assert not [words for words in _INTERNALS if words in result.output], result.output


WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "an unknown kind": (
        ("train", "--kind=ppo"),
        ("'policy.kind'", "'ppo' is not one of", "scoring_ppo"),
    ),
    "no kind": (("train", "--kind="), ("'policy.kind'", "at least 1 character")),
    "a setting of another kind": (
        ("train", "--kind=linucb", "--set", "clip=0.1"),
        ("'policy.settings.clip'", "is not a setting; known settings: ridge"),
    ),
    "a setting that is nearly one": (
        ("train", "--set", "iteration=3"),
        ("did you mean iterations?",),
    ),
    "a setting without a value": (("train", "--set", "ridge"), ("'ridge' is not NAME=VALUE",)),
    "a value without a setting": (("train", "--set", "=3"), ("'=3' is not NAME=VALUE",)),
    "out of range": (
        ("train", "--set", "iterations=0"),
        ("'policy.settings.iterations'", "at least 1, not 0"),
    ),
    "no number": (("train", "--set", "iterations=many"), ("must be a valid integer, not 'many'",)),
    "a fixed hint that is not named": (
        ("train", "--kind=fixed"),
        ("'policy.settings.hint_id': is missing",),
    ),
    "a shape that is none": (
        ("train", "--shape=round"),
        ("'policy.shape'", "'ndcg', 'reciprocal_rank', 'hit' or 'sign', not 'round'"),
    ),
    "a name that is a way out": (("train", "--name=../x"), ("'name'", "'../x' is no name")),
    "a name that is hidden": (("train", "--name=.x"), ("'.x' is no name",)),
    "an empty name": (("train", "--name="), ("'' is no name",)),
    "the name of what is live": (("train", "--name=live"), ("'live'", "something else")),
    "the name of a fallback": (("train", "--name=best_single"), ("'best_single'",)),
    "the name of no hint": (("train", "--name=no_hint", "--kind=linucb"), ("'no_hint'",)),
    "a policy that is not there": (
        ("eval", "nobody"),
        ("no policy 'nobody'", "there are noise_control, scoring_ppo"),
    ),
    "a policy elsewhere": (("eval", "../live"), ("no policy '../live'",)),
    "no policy at all": (("eval", ""), ("no policy ''",)),
    "an unknown split": (("eval", "--split=train"), ("'train' is neither test nor valid",)),
    "an unknown split to compare on": (("compare", "--split=all"), ("'all' is neither",)),
    "an unknown kind to compare": (("compare", "linucb", "nobody"), ("'nobody' is not one of",)),
    "a kind twice": (("compare", "linucb", "linucb"), ("linucb: named twice",)),
    "an unknown session": (
        ("explain", "nobody"),
        ("'session'", "no session 'nobody'", "begin with test-0, test-1"),
    ),
    "a session without a policy": (("explain", "test-0", "--policy=x"), ("no policy 'x'",)),
}


@pytest.mark.parametrize(("arguments", "told"), WRONG.values(), ids=WRONG)
def test_what_was_typed_wrong_is_named(
    arguments: tuple[str, ...], told: tuple[str, ...], untouched: RunCopy
) -> None:
    refused(untouched.policy(*arguments), *told)


def test_what_the_command_line_itself_checks(untouched: RunCopy) -> None:
    for arguments in (
        ("train", "--nearest=0"),
        ("train", "--seed=-1"),
        ("compare", "--seeds=0"),
        ("eval", "--concurrency=0"),
        ("explain",),
    ):
        result = untouched.policy(*arguments)
        assert result.exit_code == 2
        assert arguments[-1].partition("=")[0].upper().strip("-") in result.stderr.upper() or (
            "SESSION" in result.stderr
        )


@pytest.mark.parametrize("command", [("train",), ("eval",), ("compare",), ("explain", "test-0")])
def test_where_there_is_no_run(command: tuple[str, ...], tmp_path: Path) -> None:
    def called(run: Path) -> Result:
        return CliRunner().invoke(app, ["policy", *command, f"--run={run}"])

    refused(called(tmp_path / "none"), str(tmp_path / "none"), "there is no run here", "--run")
    refused(CliRunner().invoke(app, ["policy", *command]), "runs/demo: there is no run here")
    (tmp_path / "file").write_text("mine")
    refused(called(tmp_path / "file"), "there is no run here")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


Change = Callable[[dict[str, object]], object]


def _without(name: str) -> Change:
    return lambda manifest: {key: manifest[key] for key in manifest if key != name}


def _with(part: str, **changes: object) -> Change:
    return lambda manifest: {**manifest, part: {**manifest[part], **changes}}  # type: ignore[dict-item]


MANIFESTS: dict[str, tuple[Change | str, str]] = {
    "not JSON": ("{", "is not a manifest"),
    "empty": ("", "is not a manifest"),
    "no identity": (_without("identity"), "is not a manifest"),
    "no sources": (_without("sources"), "does not say what the run was made with"),
    "no conditions": (_without("conditions"), "does not say what the run was made with"),
    "sources of nothing": (lambda one: {**one, "sources": None}, "does not say"),
    "conditions in a list": (lambda one: {**one, "conditions": [1]}, "does not say"),
    "a condition is missing": (_with("conditions", prices=None), "'prices'"),
    "a setting that is none": (_with("identity", seed="x"), "'seed'"),
    "another policy": (_with("identity", policy={"kind": "x"}), "'policy'"),
    "another model": (_with("sources", llm=3), "'llm'"),
}


@pytest.mark.parametrize(("change", "told"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_broken_manifest_is_named(change: Change | str, told: str, run: RunCopy) -> None:
    manifest = run.folder / "manifest.json"
    made = change if isinstance(change, str) else json.dumps(change(run.json("manifest.json")))
    manifest.write_text(made)
    before = run.kept()
    refused(run.policy("train", "--kind=linucb"), str(manifest), told)
    assert run.kept() == before


def _truncate(folder: Path) -> None:
    [weights] = folder.glob("weights-*")
    weights.write_bytes(weights.read_bytes()[:-8])


def _remove(folder: Path) -> None:
    [weights] = folder.glob("weights-*")
    weights.unlink()


POLICIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (_truncate, "hash differs"),
    "no weights": (_remove, "weights cannot be read"),
    "no description": (lambda folder: (folder / "policy.json").unlink(), "no policy 'scoring_ppo'"),
    "no JSON": (lambda folder: (folder / "policy.json").write_text("{"), "policy.json"),
    "a broken record": (lambda folder: (folder / "training.json").write_text("{"), "training.json"),
}


@pytest.mark.parametrize("command", [("eval", "scoring_ppo"), ("explain", "test-0", "--policy=x")])
@pytest.mark.parametrize(("spoil", "told"), POLICIES.values(), ids=POLICIES)
def test_a_broken_policy_is_named(
    spoil: Callable[[Path], object], told: str, command: tuple[str, ...], run: RunCopy
) -> None:
    spoil(run.folder / "policies" / "scoring_ppo")
    before, calls = run.kept(), run.calls
    arguments = [each.replace("=x", "=scoring_ppo") for each in command]
    refused(run.policy(*arguments), told)
    assert (run.kept(), run.calls) == (before, calls)


def test_a_run_of_which_no_policy_is_live(run: RunCopy) -> None:
    shutil.rmtree(run.folder / "live")
    refused(run.policy("eval"), "no policy of this run is live", "policy train")


def test_other_data_than_the_runs(run: RunCopy, tmp_path: Path) -> None:
    write_planted_sessions(
        tmp_path / "other", num_items=60, num_train=60, num_valid=16, num_test=40, seed=1
    )
    before = run.kept()
    refused(run.policy("train", f"--data={tmp_path / 'other'}"), "'data_hash'")
    refused(run.policy("eval", f"--data={tmp_path / 'none'}"), "none", "does not exist")
    assert run.kept() == before


def test_a_run_without_hints_says_how_to_come_by_some(run: RunCopy, tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["kb", "list", f"--base={run.folder}", "--json"])
    ids = [hint["hint_id"] for hint in json.loads(listed.stdout)["hints"]]
    retired = CliRunner().invoke(app, ["kb", "retire", *ids, f"--base={run.folder}"])
    assert retired.exit_code == 0, retired.output
    told = ("has no hints", "agentrec demo", "agentrec kb add")
    for command in (("train",), ("eval", "scoring_ppo"), ("compare",), ("explain", "test-0")):
        refused(run.policy(*command), *told)
    shutil.rmtree(run.folder / "knowledge-base")
    before = run.kept()
    refused(run.policy("train"), *told)
    assert run.kept() == before
    assert not (run.folder / "knowledge-base").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed = 5", ("'seed'", "holds a run with seed 0, not 5")),
        ("max_hints = 7", ("'max_hints'",)),
        ("policy = 'linucb'", ("'policy'",)),
        ("seeds = 5", ("agentrec.toml:1", "did you mean seed?")),
        ("policy = 'ppo'", ("agentrec.toml:1", "'policy.kind'", "is not one of the hint")),
    ],
)
def test_a_settings_file_that_contradicts_the_run(
    text: str, told: tuple[str, ...], untouched: RunCopy, tmp_path: Path
) -> None:
    (tmp_path / "agentrec.toml").write_text(text)
    refused(untouched.policy("train"), *told)


def test_a_variable_that_contradicts_the_run(
    untouched: RunCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTREC_NUM_PROBES", "3")
    refused(untouched.policy("eval"), "'num_probes'")
    monkeypatch.setenv("AGENTREC_NUM_PROBES", "16")
    monkeypatch.setenv("AGENTREC_POLICY__SETTINGS__ITERATIONS", "0")
    refused(untouched.policy("eval"), "'AGENTREC_POLICY__SETTINGS__ITERATIONS'")


def test_what_is_the_same_may_be_said_again(run: RunCopy, tmp_path: Path) -> None:
    (tmp_path / "agentrec.toml").write_text("policy = 'scoring_ppo'\nlimits.max_concurrency = 3")
    run.done("eval", "scoring_ppo")


def test_a_folder_that_cannot_be_written_is_named(run: RunCopy) -> None:
    shutil.rmtree(run.folder / "policies")
    (run.folder / "policies").write_text("in the way")
    refused(run.policy("train", "--kind=linucb"), "cannot be written", f"policies{os.sep}linucb")
    shutil.rmtree(run.folder / "live")
    (run.folder / "live").write_text("in the way")
    refused(run.policy("eval"), "no policy of this run is live")


def test_json_is_not_begun_where_there_is_a_fault(untouched: RunCopy) -> None:
    for command in (("eval", "x"), ("compare", "x"), ("explain", "x")):
        result = untouched.policy(*command, "--json")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.splitlines()[-1].startswith("error: ")
