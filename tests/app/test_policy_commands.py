"""``agentrec policy``: hint policies of a run are trained, judged, compared and explained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from app.run_copies import RunCopy
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.policies.policy_files import PolicyOnDisk, read_encoder, read_policy
from agentrec.policies.policy_kinds import load_policy
from agentrec.session_encoding.blocks import DEFAULT_BLOCKS

FEW = ("--set", "iterations=3", "--set", "hidden_sizes=[8]")
STORED = {"policy.json", "weights", "training.json"}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(finished, tmp_path: Path) -> RunCopy:
    return RunCopy.of(finished.folder, tmp_path / "run")


TAUGHT = {
    "no_hint": (),
    "random": (),
    "value_regression": (),
    "best_single": (),
    "linucb": ("--halving",),
    "thompson": ("--nearest=2", "--seed=3"),
    "categorical_ppo": (*FEW, "--shape=hit"),
}


@pytest.fixture(scope="module")
def taught(
    finished, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunCopy, int]]:
    """A run with policies of all sorts, and how many calls these took."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTREC_CACHE", str(cache))
        copy = RunCopy.of(finished.folder, tmp_path_factory.mktemp("runs") / "taught")
        before = copy.calls
        for kind, said in TAUGHT.items():
            copy.done("train", f"--kind={kind}", *said, "--no-live")
        yield copy, copy.calls - before


def test_training_costs_no_call_and_leaves_a_policy_of_each_kind(
    taught: tuple[RunCopy, int], finished
) -> None:
    run, calls = taught
    assert calls == 0, "the run measured all of it"
    for name, said in TAUGHT.items():
        curve = {"curve.png"} if name.endswith("ppo") else set()
        assert run.files("policies", name) == STORED | curve
        policy = load_policy(run.folder / "policies" / name)
        assert isinstance(policy, PolicyOnDisk)
        record = run.json("policies", name, "training.json")
        assert record["policy"]["kind"] == name
        assert record["policy"]["halving"] == ("--halving" in said)
        assert record["policy"]["nearest"] == (2 if name == "thompson" else None)
        encoder = read_encoder(run.folder / "policies" / name)
        assert encoder is not None
        assert (encoder.embeddings, encoder.blocks) == ("hashed", DEFAULT_BLOCKS)
        assert record["seed"] == (3 if name == "thompson" else 0)
        assert record["sessions"] == {"train": 40, "picking": 8, "judging": 8}
    assert run.json("policies", "categorical_ppo", "training.json")["policy"]["settings"] == {
        "iterations": 3,
        "hidden_sizes": [8],
    }
    assert run.json("policies", "categorical_ppo", "training.json")["policy"]["shape"] == "hit"
    for untouched in ("gate.json", "live/policy.json"):
        assert (run.folder / untouched).read_bytes() == (finished.folder / untouched).read_bytes()


def test_without_options_it_is_the_runs_own_policy(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunCopy.of(finished.folder, tmp_path / "runs" / "demo")
    result = CliRunner().invoke(app, ["policy", "train", *FEW, "--name=small", "--no-live"])
    assert result.exit_code == 0, result.output
    there = Path("runs/demo/policies/small")
    for told in (f"small is in {there}", f"its learning curve is in {there / 'curve.png'}"):
        assert told in result.stdout
    assert (there / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((there / "training.json").read_text())["policy"]["kind"] == "scoring_ppo"


def test_settings_of_the_runs_own_kind_are_kept_and_of_others_dropped(run: RunCopy) -> None:
    manifest = run.json("manifest.json")
    manifest["identity"]["policy"] = {"kind": "linucb", "settings": {"ridge": 2.0}, "nearest": 2}
    # As the same settings are written down.
    manifest["identity"]["policy"] |= {"halving": False, "shape": "ndcg"}
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    run.done("train", "--set", "epochs=2", "--no-live")
    own = run.json("policies", "linucb", "training.json")["policy"]
    assert (own["settings"], own["nearest"]) == ({"ridge": 2.0, "epochs": 2}, 2)
    run.done("train", "--kind=thompson", "--no-live")
    other = run.json("policies", "thompson", "training.json")["policy"]
    assert (other["settings"], other["nearest"]) == ({}, 2)


def test_the_gate_decides_what_goes_live(run: RunCopy) -> None:
    said = run.done("train", "--kind=linucb")
    gate = run.json("gate.json")
    assert gate["wanted"] == "linucb"
    assert gate["live"] in ("linucb", "best_single", "no_hint")
    assert "linucb gains" in said
    assert f"on {gate['sessions']} validation sessions" in said
    assert run.files("live") == STORED
    record = run.json("live", "training.json")
    assert record["policy"]["kind"] == gate["live"]
    kind = {"best_single": "fixed"}.get(gate["live"], gate["live"])
    assert read_policy(run.folder / "live").kind == kind
    assert run.told("explain", "test-0")["policy"] == "live"


def test_the_same_seed_makes_the_same_policy(run: RunCopy) -> None:
    weights = []
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        run.done("train", *FEW, f"--name={name}", f"--seed={seed}", "--no-live")
        policy = load_policy(run.folder / "policies" / name)
        assert isinstance(policy, PolicyOnDisk)
        weights.append(policy.parameter_hash)
    assert weights[0] == weights[1] != weights[2]


def test_what_was_chosen_is_measured_once_and_only_that(
    finished, tmp_path: Path, taught: tuple[RunCopy, int]
) -> None:
    run = RunCopy.of(taught[0].folder, tmp_path / "run")
    before = run.calls
    first = run.told("eval", "value_regression")
    given = sum(hint["sessions"] for hint in first["hints"] if hint["hint_id"] is not None)
    # The demo may have asked already for what this policy chooses.
    assert before <= run.calls <= before + given
    assert run.json("policies", "value_regression", "evaluation.test.json") == first
    before = run.calls
    assert run.told("eval", "value_regression") == first
    said = run.done("eval", "value_regression")
    assert "value_regression on test sessions: NDCG@10 " in said
    assert f"{first['gain']['mean']:+.3f}" in said
    assert run.calls == before
    every = run.told("eval", "value_regression", "--every-hint")
    assert run.calls > before
    assert (first["gain"], first["regret"]) == (every["gain"], None)
    assert every["regret"] is not None
    before = run.calls
    for name in TAUGHT:
        run.done("eval", name)
    run.done("eval", "thompson", "--every-hint")
    assert run.calls == before, "every hint was measured"
    (run.folder / "rewards.test.parquet").unlink()
    assert run.told("eval", "value_regression") == first
    assert run.calls == before, "the journal knows"


def test_validation_sessions_are_judged_on_with_a_warning(taught: tuple[RunCopy, int]) -> None:
    run, _ = taught
    before = run.calls
    assert "half of these sessions picked it" in run.done("eval", "random", "--split=valid")
    assert run.calls == before
    assert run.told("eval", "random", "--split=valid")["sessions"] == 16
    assert run.told("eval", "--split=valid")["gain"].keys() == {"mean", "low", "high"}


def test_policies_are_compared_on_the_same_sessions(run: RunCopy) -> None:
    kinds = ("linucb", "random", "best_single", "nearest")
    told = run.told("compare", *kinds, "--seeds=2")
    baselines = ["popularity", "item_knn", "text_similarity", "sasrec"]
    assert [one["name"] for one in told["policies"]] == ["no_hint", *kinds, *baselines]
    assert run.json("comparison.test.json") == told
    before = run.calls
    said = run.done("compare", "no_hint", *kinds, "--seeds=2")
    assert all(kind in said for kind in kinds)
    assert run.calls == before
    run.done("compare", "no_hint", "--seeds=1", "--split=valid")
    assert (run.folder / "comparison.valid.json").is_file()
    assert run.calls == before
    assert run.files("policies") == {"scoring_ppo", "noise_control"}, "trained for the moment"


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize("session", ["test-3", "train-59"])
def test_a_choice_is_explained(name: str, session: str, taught: tuple[RunCopy, int]) -> None:
    run, _ = taught
    before = run.calls
    told = run.told("explain", session, f"--policy={name}")
    assert run.calls <= before + 2
    before = run.calls
    said = run.done("explain", session, f"--policy={name}")
    assert run.calls == before
    assert session in said
    num_hints = run.json("policies", name, "training.json")["hints"]
    assert (told["session_id"], told["policy"]) == (session, name)
    assert len(told["options"]) == 1 + (2 if name == "thompson" else num_hints)
    [chosen] = [option for option in told["options"] if option["chosen"]]
    assert (chosen["hint_id"] is None) == (told["rank_with"] is None)
    assert told["rank_without"] is not None
    assert (chosen["measured_gain"] is None) == (chosen["hint_id"] is None)
    assert {part for part, _ in told["state"]} == {"text", "categories", "numbers", "length"}
    blind = name in ("no_hint", "random", "best_single")
    assert bool(told["deciding"]) != blind
    assert bool(told["neighbours"]) == (chosen["hint_id"] is not None)
    assert session not in {neighbour for neighbour, _, _ in told["neighbours"]}
    predicts = name == "value_regression"
    assert all((option["predicted_gain"] is not None) == predicts for option in told["options"])
    if name == "categorical_ppo":
        assert math.isclose(sum(one["probability"] for one in told["options"]), 1, abs_tol=1e-3)


def test_a_hint_that_is_added_costs_what_it_takes_and_no_explanation(run: RunCopy) -> None:
    run.done("train", "--kind=value_regression", "--no-live")
    stored = len(run.told("explain", "test-1", "--policy=value_regression")["options"]) - 1
    base = ("--base", str(run.folder))
    added = CliRunner().invoke(app, ["kb", "add", "Prefer late years.", *base])
    assert added.exit_code == 0, added.output
    before = run.calls
    assert len(run.told("explain", "test-1", "--policy=value_regression")["options"]) == stored + 2
    assert run.calls <= before + 2
    before = run.calls
    run.done("train", "--kind=value_regression", "--no-live")
    assert run.calls == before + 40 + 16, "one hint, once a session"
    run.done("train", "--kind=linucb", "--no-live")
    assert run.calls == before + 40 + 16
    assert run.json("policies", "value_regression", "training.json")["hints"] == stored + 1


def test_moved_data_is_found_with_an_option(run: RunCopy, planted, tmp_path: Path) -> None:
    manifest = run.json("manifest.json")
    manifest["sources"]["data"] = str(tmp_path / "gone")
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    lost = run.policy("eval")
    assert (lost.exit_code, "gone" in lost.stderr) == (2, True)
    run.done("eval", f"--data={planted.folder}", "--concurrency=2")


def test_help_names_every_command() -> None:
    told = CliRunner().invoke(app, ["policy", "--help"]).stdout
    for name in ("train", "eval", "compare", "explain"):
        assert name in told
        assert "--run" in CliRunner().invoke(app, ["policy", name, "--help"]).stdout
