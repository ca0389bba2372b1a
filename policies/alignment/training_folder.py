"""What a training tells of itself, a row a step."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from agentrec.atomic_files import holds_nothing, write_atomically
from agentrec.errors import InputError

_NAMES = {
    "loss": "loss",
    "margin": "rewards/margins",
    "accuracy": "rewards/accuracies",
    "chosen_reward": "rewards/chosen",
    "rejected_reward": "rewards/rejected",
    "token_accuracy": "mean_token_accuracy",
}


class AlignmentPoint(BaseModel):
    """Where the training stood at one step.

    Attributes:
        step: Optimiser steps done, from 1.
        epoch: Passes over the pairs done.
        part: Means over the ``train`` pairs of the step, or over all that were kept out.
        loss: What is made small, in nats. That of DPO, without the likelihood of the chosen texts,
            begins at 0.693.
        margin: Reward of the chosen text minus that of the rejected one, nats times beta.
        accuracy: Share of pairs whose margin is above 0.
        chosen_reward: ``beta`` times the log-probability of the chosen text now, minus before.
        rejected_reward: The same of the rejected text.
        token_accuracy: Share of tokens of the chosen text that were the most probable ones.
        learning_rate: Step size; of training rows only.
        gradient_norm: Before clipping; of training rows only, and of none where it overflowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    epoch: float
    part: Literal["train", "held_out"]
    loss: float
    margin: float | None = None
    accuracy: float | None = None
    chosen_reward: float | None = None
    rejected_reward: float | None = None
    token_accuracy: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> AlignmentPoint | None:
        """A row of the trainer's log; ``None`` for its last one, a summary, which has no loss."""
        part: Literal["train", "held_out"]
        if "eval_loss" in row:
            part, prefix = "held_out", "eval_"
        elif "loss" in row:
            part, prefix = "train", ""
        else:
            return None
        values = {name: row.get(prefix + theirs) for name, theirs in _NAMES.items()}
        return cls(
            step=row["step"],
            epoch=row["epoch"],
            part=part,
            learning_rate=row.get("learning_rate"),
            gradient_norm=_finite(row.get("grad_norm")),
            **values,
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def points_from_log(rows: Sequence[Mapping[str, Any]]) -> list[AlignmentPoint]:
    """All rows of a trainer's log that tell where a step stood."""
    return [point for row in rows if (point := AlignmentPoint.of(row)) is not None]


def write_points(file: Path, points: Sequence[AlignmentPoint]) -> None:
    """Write points as JSONL in one step.

    Raises:
        OSError: The file cannot be written.
    """
    write_atomically(file, "".join(map(_line, points)).encode())


def read_points(file: Path) -> list[AlignmentPoint]:
    """The points in a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is no point.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    return [AlignmentPoint.model_validate_json(line) for line in lines]


def append_point(file: Path, point: AlignmentPoint) -> None:
    """Add a line to what ``write_points`` wrote.

    Raises:
        OSError: The file cannot be written.
    """
    with file.open("a", encoding="utf-8") as lines:
        lines.write(_line(point))


def _line(point: AlignmentPoint) -> str:
    return json.dumps(point.model_dump(exclude_none=True)) + "\n"


_MARK = "whole.json"
_PREFIX = "checkpoint-"


class TrainingFolder:
    """What one training keeps.

    Args:
        path: The folder; what lies there of another training is replaced.
        training: Tells this training from any other: data, model, settings and versions.

    Raises:
        InputError: If something else lies there, or the folder cannot be written.
    """

    def __init__(self, path: Path, training: str) -> None:
        self.path = path
        self._described = path / "training.json"
        try:
            if path.exists() and not self._described.is_file() and not holds_nothing(path):
                raise InputError("holds something else than a training; name another", file=path)
            if _read(self._described) != training:
                self.discard()
                write_atomically(self._described, json.dumps({"training": training}).encode())
            self._drop_halves()
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=path) from error

    @property
    def log(self) -> Path:
        """Where points go."""
        return self.path / "metrics.jsonl"

    def last(self) -> Path | None:
        """The newest checkpoint."""
        whole = self._whole()
        return whole[max(whole)] if whole else None

    def keep(self, step: int, best: int | None) -> None:
        """Mark a checkpoint that is written as whole, and drop older ones.

        Args:
            step: Its step.
            best: Step of the one that may be the result, if there is one.
        """
        mark = self.path / f"{_PREFIX}{step}" / _MARK
        write_atomically(mark, json.dumps({"step": step}).encode())
        for other, folder in self._whole().items():
            if other not in (step, best):
                _drop(folder)

    def discard(self) -> None:
        """Forget it: the training is over."""
        # What says that it is one goes last, lest a kill leave a folder of something else.
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._described:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _whole(self) -> dict[int, Path]:
        found = {}
        for folder in self.path.glob(f"{_PREFIX}*"):
            number = folder.name.removeprefix(_PREFIX)
            if number.isdecimal() and (folder / _MARK).is_file():
                found[int(number)] = folder
        return found

    def _drop_halves(self) -> None:
        whole = set(self._whole().values())
        for folder in self.path.glob(f"{_PREFIX}*"):
            if folder not in whole:
                shutil.rmtree(folder, ignore_errors=True)


def _drop(folder: Path) -> None:
    # The mark first: what is deleted in part must not be taken for whole.
    (folder / _MARK).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _read(described: Path) -> str | None:
    try:
        kept = json.loads(described.read_text(encoding="utf-8"))
        return str(kept["training"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
