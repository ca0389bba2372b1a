"""All that a training has come to, and how it lies on disk: stopped anywhere, it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from agentrec.errors import InputError
from agentrec.policies.policy_files import read_policy, write_policy
from agentrec.policies.sequential.backbone import Backbone
from agentrec.policies.sequential.recommender import EpochPoint

_KIND = "sequential-training"


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    training: str
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
        for at, kept in self.optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser.{at}.{name}": torch.as_tensor(one) for name, one in kept.items()
            }
        description = _Description(
            training=training,
            curve=tuple(self.curve),
            best_epoch=self.best_epoch,
            best_score=self.best_score,
        )
        write_policy(
            folder, _KIND, description, {name: one.numpy() for name, one in tensors.items()}
        )

    def go_on(self, folder: Path, training: str) -> bool:
        """Take up what ``save`` wrote.

        Args:
            folder: Where.
            training: What ``fingerprint`` says of the training.

        Returns:
            Whether there was a state of this very training; what is left of another one, or of
            none that can be read, is passed over.
        """
        try:
            stored = read_policy(folder, _KIND)
            description = stored.described_as(_Description)
        except InputError:
            return False
        if description.training != training:
            return False
        tensors = {name: torch.from_numpy(one) for name, one in stored.tensors.items()}
        self.backbone.load_state_dict(_below("backbone.", tensors))
        self.best = {name: one.clone() for name, one in _below("best.", tensors).items()}
        self.generator.set_state(tensors["generator"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, one in _below("optimiser.", tensors).items():
            place, _, moment = name.partition(".")
            moments.setdefault(int(place), {})[moment] = one.clone()
        known = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**known, "state": moments})
        self.curve = list(description.curve)
        self.best_epoch = description.best_epoch
        self.best_score = description.best_score
        return True


def fingerprint(settings: str, item_ids: Iterable[str], *tensors: torch.Tensor) -> str:
    """What a training is made of, as a hash: equal only for equal settings and equal data."""
    digest = hashlib.sha256(settings.encode())
    for item_id in item_ids:
        encoded = item_id.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode() + encoded)
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }
