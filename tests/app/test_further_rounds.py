"""Pairs of texts that a second model writes, and what keeps two collections apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from app.preference_runs import QUICK, Settings, quiet, sha256
from safetensors.torch import load_file, save_file

from agentrec.app.preferences.collection import ORIGIN_FILE
from agentrec.app.preferences.run_collection import collect_in_run, opened
from agentrec.app.preferences.text_writing import factors_of, texts_for
from agentrec.errors import InputError, ModelCallError
from agentrec.named_components import open_model
from agentrec.runs.open_run import with_model
from agentrec.runs.run_folder import RunFolder
from agentrec.stores.pairs.export import read_pairs


@pytest.fixture
def run(collected: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(collected, folder)
    return folder


@pytest.fixture
def other(run: Path, tmp_path: Path) -> Path:
    """A model that is nearly the run's: every number is a little larger."""
    told = json.loads((RunFolder(run).preferences / "collection.json").read_text())
    folder = tmp_path / "other"
    shutil.copytree(told["model_folder"], folder)
    file = folder / "model.safetensors"
    weights = {name: 1.001 * value for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return folder


async def test_pairs_of_another_writer_lie_beside_those_of_the_run(
    run: Path, other: Path, settings_for: Settings
) -> None:
    place = RunFolder(run)
    kept = [place.preferences / "pairs.jsonl", place.reward_model / "training.json"]
    before = [sha256(file) for file in kept]
    settings = settings_for(run, prefer={**QUICK, "writer": f"catalog-lm:{other}"})
    identity = open_model(f"catalog-lm:{other}", {}, 60).identity
    told = await collect_in_run(settings, quiet())
    folder = place.preferences_of(identity)
    pairs = read_pairs(folder / "pairs.jsonl")
    assert 0 < len(pairs) == told.pairs
    assert {pair.provenance.model for pair in pairs} == {identity}
    assert json.loads((folder / "collection.json").read_text())["model_folder"] == str(other)
    # The run's model ranks and teaches the reward model as before.
    mine = read_pairs(kept[0])
    assert {one.provenance.reward_model for one in pairs} == {
        one.provenance.reward_model for one in mine
    }
    assert {pair.provenance.model for pair in mine} != {identity}
    assert [sha256(file) for file in kept] == before


async def test_a_writer_that_is_none_is_told_before_anything_is_made(
    settings_for: Settings, tmp_path: Path
) -> None:
    folder, none = tmp_path / "run", tmp_path / "no"
    settings = settings_for(folder, prefer={**QUICK, "writer": f"catalog-lm:{none}"})
    with pytest.raises(InputError) as caught:
        await collect_in_run(settings, quiet())
    told = f"{none}: is not the folder of an embedded model (no catalog_lm.json)"
    assert str(caught.value) == told
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"samples": 2}, "prefer.samples"),
        ({"rules": {"min_gap": 0.2}}, "prefer.rules.min_gap"),
        ({"reward": "model"}, "prefer.reward"),
    ],
)
async def test_two_collections_do_not_end_in_one_file(
    changes: dict[str, object], named: str, run: Path, settings_for: Settings
) -> None:
    file = RunFolder(run).preferences / "pairs.jsonl"
    before = sha256(file)
    with pytest.raises(InputError, match=f"collected with other {named}:"):
        await collect_in_run(settings_for(run, prefer={**QUICK, **changes}), quiet())
    assert sha256(file) == before
    # Who wants the others deletes these.
    file.unlink()
    told = await collect_in_run(settings_for(run, prefer={**QUICK, **changes}), quiet())
    assert told.pairs == len(read_pairs(file))


async def test_pairs_without_an_origin_are_gone_on_with(run: Path, settings_for: Settings) -> None:
    preferences = RunFolder(run).preferences
    before = sha256(preferences / "pairs.jsonl")
    (preferences / ORIGIN_FILE).unlink()
    await collect_in_run(settings_for(run, prefer=QUICK), quiet())
    assert sha256(preferences / "pairs.jsonl") == before
    (preferences / ORIGIN_FILE).write_text("{")
    with pytest.raises(InputError, match="is not the origin"):
        await collect_in_run(settings_for(run, prefer=QUICK), quiet())


async def test_where_the_model_rewards_all_training_sessions_have_pairs(
    run: Path, settings_for: Settings
) -> None:
    (RunFolder(run).preferences / "pairs.jsonl").unlink()
    told = await collect_in_run(settings_for(run, prefer={**QUICK, "reward": "model"}), quiet())
    assert told.sessions == 60


async def test_what_a_second_model_is_asked_counts_in_the_budget_of_the_run(
    run: Path, other: Path, settings_for: Settings
) -> None:
    settings = settings_for(run, prefer=QUICK, budget={"tokens": 1})
    async with opened(settings, quiet()) as parts:
        model = open_model(f"catalog-lm:{other}", {}, 60)
        async with with_model(parts, model) as components:
            with pytest.raises(ModelCallError) as caught:
                await texts_for(
                    "Texts",
                    parts.dataset.valid,
                    await factors_of(parts),
                    parts,
                    share=0.7,
                    components=components,
                )
    assert caught.value.kind == "budget_spent"
