"""A training on disk: its log, and its checkpoints, of which only complete ones are resumed.

The checkpoints are the library's own. Weights are safetensors; ``optimizer.pt``, ``scheduler.pt``
and ``rng_state.pth`` are in torch's format, which transformers reads with ``weights_only=True``
(tensors, numbers and, for the random state, numpy arrays; nothing is run), and
``training_args.bin``, a pickle, is written and never read.
"""

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

_COMPLETE = "whole.json"
_PREFIX = "checkpoint-"
_LOG_NAMES = {
    "loss": "loss",
    "margin": "rewards/margins",
    "accuracy": "rewards/accuracies",
    "chosen_reward": "rewards/chosen",
    "rejected_reward": "rewards/rejected",
    "token_accuracy": "mean_token_accuracy",
}


class AlignmentPoint(BaseModel):
    """The training at one step.

    Attributes:
        step: Optimiser steps done, from 1.
        epoch: Passes over the pairs done.
        part: Means over the ``train`` pairs of the step, or over all that were held out.
        loss: The loss in nats. That of DPO, without the likelihood of the chosen texts, begins at
            0.693.
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
        """Read a row of the trainer's log; ``None`` for its last one, a summary without a loss."""
        part: Literal["train", "held_out"]
        if "eval_loss" in row:
            part, prefix = "held_out", "eval_"
        elif "loss" in row:
            part, prefix = "train", ""
        else:
            return None
        values = {name: row.get(prefix + theirs) for name, theirs in _LOG_NAMES.items()}
        norm = row.get("grad_norm")
        return cls(
            step=row["step"],
            epoch=row["epoch"],
            part=part,
            learning_rate=row.get("learning_rate"),
            gradient_norm=norm if norm is not None and math.isfinite(norm) else None,
            **values,
        )


def points_from_log(rows: Sequence[Mapping[str, Any]]) -> list[AlignmentPoint]:
    """Read all rows of a trainer's log but its summary."""
    return [point for row in rows if (point := AlignmentPoint.of(row)) is not None]


def write_points(file: Path, points: Sequence[AlignmentPoint]) -> None:
    """Write points as JSONL in one step.

    Raises:
        OSError: The file cannot be written.
    """
    write_atomically(file, "".join(map(_line, points)).encode())


def read_points(file: Path) -> list[AlignmentPoint]:
    """Read the points in a file.

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


class TrainingFolder:
    """The folder of one training.

    Args:
        path: The folder; what another training left there is replaced.
        training: Hash of the training: data, model, settings and versions.

    Raises:
        InputError: If something else lies there, or the folder cannot be written.
    """

    def __init__(self, path: Path, training: str) -> None:
        self.path = path
        self._description = path / "training.json"
        try:
            if path.exists() and not self._description.is_file() and not holds_nothing(path):
                raise InputError("holds something else than a training; name another", file=path)
            if _described(self._description) != training:
                self.discard()
                write_atomically(self._description, json.dumps({"training": training}).encode())
            complete = set(self._complete().values())
            for folder in path.glob(f"{_PREFIX}*"):
                if folder not in complete:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=path) from error

    @property
    def log(self) -> Path:
        """The file of the points."""
        return self.path / "metrics.jsonl"

    def last(self) -> Path | None:
        """The newest checkpoint."""
        complete = self._complete()
        return complete[max(complete)] if complete else None

    def keep(self, step: int, best: int | None) -> None:
        """Mark a checkpoint as complete, and drop older ones.

        Args:
            step: Its step.
            best: Step of the best one so far, which stays, if there is one.
        """
        mark = self.path / f"{_PREFIX}{step}" / _COMPLETE
        write_atomically(mark, json.dumps({"step": step}).encode())
        for other, folder in self._complete().items():
            if other not in (step, best):
                # The mark first: what is deleted in part must not be taken for complete.
                (folder / _COMPLETE).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove it: the training is over."""
        # The description goes last: a kill must not leave a folder that looks like another's.
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._description:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _complete(self) -> dict[int, Path]:
        found = {}
        for folder in self.path.glob(f"{_PREFIX}*"):
            number = folder.name.removeprefix(_PREFIX)
            if number.isdecimal() and (folder / _COMPLETE).is_file():
                found[int(number)] = folder
        return found


def _described(description: Path) -> str | None:
    try:
        return str(json.loads(description.read_text(encoding="utf-8"))["training"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _line(point: AlignmentPoint) -> str:
    return json.dumps(point.model_dump(exclude_none=True)) + "\n"
