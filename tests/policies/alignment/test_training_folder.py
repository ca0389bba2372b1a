"""Only whole checkpoints are gone on from, and nobody else's files are touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrec.errors import InputError
from agentrec.policies.alignment.training_folder import TrainingFolder


def checkpoint(folder: TrainingFolder, step: int) -> Path:
    made = folder.path / f"checkpoint-{step}"
    made.mkdir()
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def kept(folder: TrainingFolder) -> set[str]:
    return {path.name for path in folder.path.glob("checkpoint-*")}


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "it", "mine")
    for step in (4, 8, 12):
        checkpoint(folder, step)
        folder.keep(step, best=4)
    assert kept(folder) == {"checkpoint-4", "checkpoint-12"}
    last = folder.last()
    assert last is not None
    assert last.name == "checkpoint-12"


def test_half_a_checkpoint_is_dropped(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "it", "mine")
    checkpoint(folder, 4)
    folder.keep(4, None)
    checkpoint(folder, 8)
    again = TrainingFolder(tmp_path / "it", "mine")
    assert kept(again) == {"checkpoint-4"}
    assert again.last() == tmp_path / "it" / "checkpoint-4"


def test_another_training_starts_afresh(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "it", "mine")
    checkpoint(folder, 4)
    folder.keep(4, None)
    assert TrainingFolder(tmp_path / "it", "yours").last() is None
    assert TrainingFolder(tmp_path / "it", "mine").last() is None


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        TrainingFolder(tmp_path, "mine")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_a_kill_left_of_a_beginning_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / ".training.json.abc.tmp").write_text("{")
    assert TrainingFolder(tmp_path, "mine").last() is None


def test_what_a_kill_left_of_an_end_is_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrainingFolder(tmp_path / "it", "mine")
    checkpoint(folder, 4)
    folder.log.write_text("{}")
    removed: list[Path] = []
    monkeypatch.setattr("shutil.rmtree", lambda path, **_: removed.append(path))
    folder.discard()
    assert removed == [folder.path / "checkpoint-4", folder.path]
    assert {path.name for path in folder.path.iterdir()} == {"checkpoint-4", "training.json"}


def test_what_is_over_is_gone(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "it", "mine")
    folder.discard()
    assert not (tmp_path / "it").exists()
