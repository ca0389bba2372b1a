"""All that a training has come to, and how it lies on disk: stopped anywhere, it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from agentrec.policies.sequential.backbone import Backbone
from agentrec.policies.sequential.recommender import EpochPoint
from agentrec.policies.training_checkpoint import (
    Checkpoint,
    below,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)

_KIND = "sequential-training"


class _State(Checkpoint):
    curve: tuple[EpochPoint, ...]
    best_epoch: int
    best_score: float | None


@dataclass(eq=False)
class TrainingState:
    """What changes while training.

    Attributes:
        backbone: The network.
        optimiser: Its optimiser.
        generator: Source of everything drawn.
        window: Looks at validation whose mean scores an epoch, at least 1.
        curve: A point for each epoch done.
        best_epoch: The 1-based epoch to keep; 0 while there is none.
        best_score: Its score; ``None`` while there is none.
        best: Its parameters.
    """

    backbone: Backbone
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    window: int
    curve: list[EpochPoint] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float | None = None
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.curve)

    def record(self, point: EpochPoint) -> None:
        """Note an epoch, and keep its parameters if it is the best so far.

        An epoch is scored by the mean of the last ``window`` looks, its own among them: a single
        look at a few hundred sessions is mostly luck. Without validation the latest is the best.
        """
        self.curve.append(point)
        looks = [each.valid_ndcg for each in self.curve[-self.window :]]
        known = [look for look in looks if look is not None]
        score = float(np.mean(known)) if known else None
        if score is None or self.best_score is None or score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            self.best = {name: one.clone() for name, one in self.backbone.state_dict().items()}

    def save(self, folder: Path, training: str) -> None:
        """Write it; a reader finds the previous state or this one, never a mixture.

        Args:
            folder: Where.
            training: What ``fingerprint`` says of the training.
        """
        tensors = {f"backbone.{name}": one for name, one in self.backbone.state_dict().items()}
        tensors |= {f"best.{name}": one for name, one in self.best.items()}
        tensors["generator"] = self.generator.get_state()
        state = _State(
            training=training,
            curve=tuple(self.curve),
            best_epoch=self.best_epoch,
            best_score=self.best_score,
        )
        write_checkpoint(folder, _KIND, state, tensors, self.optimiser)

    def go_on(self, folder: Path, training: str) -> bool:
        """Take up what ``save`` wrote.

        Args:
            folder: Where.
            training: What ``fingerprint`` says of the training.

        Returns:
            Whether there was a state of this very training; what is left of another one, or of
            none that can be read, is passed over.
        """
        found = read_checkpoint(folder, _KIND, _State, training)
        if found is None:
            return False
        state, tensors = found
        self.backbone.load_state_dict(below("backbone.", tensors))
        self.best = {name: one.clone() for name, one in below("best.", tensors).items()}
        self.generator.set_state(tensors["generator"])
        restore_optimiser(self.optimiser, tensors)
        self.curve = list(state.curve)
        self.best_epoch = state.best_epoch
        self.best_score = state.best_score
        return True
