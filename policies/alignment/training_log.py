"""What a training tells of itself, a row a step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from agentrec.atomic_files import write_atomically

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


def points_of(rows: Sequence[Mapping[str, Any]]) -> list[AlignmentPoint]:
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
