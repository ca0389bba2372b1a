"""What comes out of a tuning, and that a stop or a kill changes nothing of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from app.planted_pairs import pair_of, planted_pairs, short_pairs

from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.errors import InputError
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.training import Alignment, align
from agentrec.preferences import PreferencePair

PAIRS = planted_pairs(48)
TESTS = Path(__file__).resolve().parents[2]


class StopHereError(Exception):
    """Somebody wants it to end."""


def stop_at(step: int) -> Callable[[int, int], None]:
    def on_progress(done: int, steps: int) -> None:
        if done == step:
            raise StopHereError

    return on_progress


def test_the_result_is_an_embedded_model(tuned: Alignment, taught: Path) -> None:
    model = CatalogChatModel.from_folder(tuned.folder)
    base = CatalogChatModel.from_folder(taught)
    assert model.catalog_model.vocabulary == base.catalog_model.vocabulary
    assert model.catalog_model.name == f"trained-dpo-{tuned.record.parameter_hash[:8]}"
    card = (tuned.folder / "README.md").read_text()
    assert card.startswith("# taught")
    assert "## Tuned on preferences" in card


def test_the_record_says_what_it_was_made_of(tuned: Alignment) -> None:
    record = json.loads((tuned.folder / "alignment.json").read_text())
    assert record == tuned.record.model_dump(mode="json")
    assert (record["pairs"], record["trained_on"], record["held_out"]) == (48, 43, 5)
    assert record["steps"] == 12
    assert set(record["versions"]) >= {"torch", "transformers", "trl", "peft"}
    assert record["tuned"] == "embedded"


def test_the_log_has_a_row_a_step_and_a_look_every_so_many(tuned: Alignment) -> None:
    lines = (tuned.folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows == [point.model_dump(exclude_none=True) for point in tuned.points]
    assert [row["step"] for row in rows if row["part"] == "train"] == [*range(1, 13)]
    assert [row["step"] for row in rows if row["part"] == "held_out"] == [4, 8, 12]
    assert all({"loss", "margin", "accuracy"} <= set(row) for row in rows)
    assert rows[-1]["margin"] > rows[0]["margin"]


def test_nothing_is_left_beside_the_result(tuned: Alignment) -> None:
    assert [path.name for path in tuned.folder.parent.iterdir()] == ["dpo"]


def test_the_same_again_is_the_same_and_another_seed_is_not(
    tuned: Alignment, taught: Path, small: AlignmentConfig, tmp_path: Path
) -> None:
    again = align(PAIRS, taught, tmp_path / "again", small)
    assert again.record == tuned.record
    assert again.points == tuned.points
    other = align(PAIRS, taught, tmp_path / "other", small.model_copy(update={"seed": 1}))
    assert other.record.parameter_hash != tuned.record.parameter_hash


def test_what_was_done_before_is_done(
    tuned: Alignment, taught: Path, small: AlignmentConfig, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    shutil.copytree(tuned.folder, out)
    # As if it had been killed between the result and the end.
    place = tmp_path / ".mine-training"
    place.mkdir()
    (place / "training.json").write_text("{}")
    seen: list[tuple[int, int]] = []
    done = align(PAIRS, taught, out, small, on_progress=lambda *at: seen.append(at))
    assert (done.record, done.points, seen) == (tuned.record, tuned.points, [(12, 12)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for given, config in ((PAIRS[1:], small), (PAIRS, small.model_copy(update={"seed": 1}))):
        with pytest.raises(InputError, match="not empty; name another"):
            align(given, taught, out, config)
    (out / "metrics.jsonl").write_text("torn")
    with pytest.raises(InputError, match="not empty; name another"):
        align(PAIRS, taught, out, small)


def test_what_a_killed_writing_left_is_gone_afterwards(
    tuned: Alignment, taught: Path, tmp_path: Path
) -> None:
    (tmp_path / ".mine-result" / "made").mkdir(parents=True)
    align(PAIRS[:8], taught, tmp_path / "mine", AlignmentConfig(epochs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("step", [0, 6])
def test_a_stopped_training_goes_on_to_the_same(
    step: int, tuned: Alignment, taught: Path, small: AlignmentConfig, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    with pytest.raises(StopHereError):
        align(PAIRS, taught, out, small, on_progress=stop_at(step))
    assert not out.exists()
    seen: list[int] = []
    done = align(PAIRS, taught, out, small, on_progress=lambda done, steps: seen.append(done))
    # The reference is kept: it is computed once.
    assert [at for at in seen if at] == [*range(step + 1, 13)]
    assert (0 in seen) == (step == 0)
    assert done.record == tuned.record
    assert done.points == tuned.points


def test_a_killed_training_goes_on_to_the_same(
    tuned: Alignment, taught: Path, small: AlignmentConfig, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    command = [sys.executable, TESTS / "app" / "mortal_aligner.py", taught, out, "7"]
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
    assert ended.returncode == -9
    assert not out.exists()
    seen: list[int] = []
    done = align(PAIRS, taught, out, small, on_progress=lambda done, steps: seen.append(done))
    assert seen == [*range(5, 13)]
    assert done.record == tuned.record
    assert done.points == tuned.points


def test_the_process_is_left_as_it_was(taught: Path, tmp_path: Path) -> None:
    states = (random.getstate(), torch.get_rng_state())
    numpys = np.random.get_state()[1].tolist()  # type: ignore[index]
    before = dict(os.environ)
    config = AlignmentConfig(epochs=1, batch_size=8)
    align(PAIRS[:8], taught, tmp_path / "mine", config)
    assert random.getstate() == states[0]
    assert torch.get_rng_state().equal(states[1])
    assert np.random.get_state()[1].tolist() == numpys  # type: ignore[index]
    assert dict(os.environ) == before


def test_what_the_model_has_no_words_for_is_told_of(taught: Path, tmp_path: Path) -> None:
    pairs = [*PAIRS[:8], pair_of(99, "They adore comedies.", "They adore war.")]
    done = align(pairs, taught, tmp_path / "mine", AlignmentConfig(epochs=1))
    assert done.record.left_out == {"a text that the embedded model has no words for": 1}


@pytest.mark.parametrize(
    ("changes", "pairs", "told"),
    [
        ({}, [], "no pair can be used"),
        ({}, short_pairs(3), "3 the prompt does not ask the embedded model"),
        ({"lora_rank": 4}, PAIRS[:4], "is tuned whole"),
        ({"weight_decay": 0.1}, PAIRS[:4], "would change the embedded model's items"),
    ],
)
def test_what_cannot_be_is_told(
    changes: dict[str, object],
    pairs: list[PreferencePair],
    told: str,
    taught: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=told):
        align(pairs, taught, tmp_path / "mine", AlignmentConfig.model_validate(changes))
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_ends_it(taught: Path, tmp_path: Path) -> None:
    config = AlignmentConfig(learning_rate=1e30, batch_size=8, eval_share=0)
    with pytest.raises(InputError, match=r"field 'learning_rate': the loss is .* at step \d"):
        align(PAIRS, taught, tmp_path / "mine", config)
    assert not (tmp_path / "mine").exists()


def test_what_is_there_is_left_alone(taught: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        align(PAIRS, taught, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
