"""All that a training has come to, and how it lies on disk: stopped anywhere, it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from agentrec.errors import InputError
from agentrec.hint_offers import RewardedOffer
from agentrec.policies.policy_files import read_policy, write_policy
from agentrec.policies.ppo.actor_critic import ActorCritics
from agentrec.policies.ppo.iterate_selection import BestIterates
from agentrec.policies.ppo.training_curve import CurvePoint
from agentrec.policies.ppo.updates import Learner

_KIND = "ppo-training"


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    training: str
    iteration: int
    steps: int
    curve: tuple[CurvePoint, ...]


@dataclass(eq=False)
class TrainingState:
    """What changes while training.

    Attributes:
        networks: The networks.
        learner: Their optimiser.
        best: The iterates to keep.
        generators: Source of everything drawn, one a network.
        curve: The points so far.
        iteration: How many iterations are done.
    """

    networks: ActorCritics
    learner: Learner
    best: BestIterates
    generators: Sequence[torch.Generator]
    curve: list[CurvePoint] = field(default_factory=list)
    iteration: int = 0

    def save(self, folder: Path, training: str) -> None:
        """Write it; a reader finds the previous state or this one, never a mixture.

        Args:
            folder: Where.
            training: What ``fingerprint`` says of the training.
        """
        tensors = {f"networks.{name}": one for name, one in self.networks.state_dict().items()}
        tensors |= {f"best.{name}": one for name, one in self.best.tensors().items()}
        tensors |= {f"generators.{at}": one.get_state() for at, one in enumerate(self.generators)}
        for at, kept in self.learner.optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser.{at}.{name}": torch.as_tensor(one) for name, one in kept.items()
            }
        description = _Description(
            training=training,
            iteration=self.iteration,
            steps=self.learner.taken,
            curve=tuple(self.curve),
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
        self.networks.load_state_dict(_below("networks.", tensors))
        self.best.remember(_below("best.", tensors))
        for at, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generators.{at}"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, one in _below("optimiser.", tensors).items():
            place, _, moment = name.partition(".")
            moments.setdefault(int(place), {})[moment] = one.clone()
        known = self.learner.optimiser.state_dict()
        self.learner.optimiser.load_state_dict({**known, "state": moments})
        self.learner.taken = description.steps
        self.curve = list(description.curve)
        self.iteration = description.iteration
        return True


def fingerprint(settings: str, train: RewardedOffer, valid: RewardedOffer | None) -> str:
    """What a training is made of, as a hash: equal only for equal settings and equal data."""
    digest = hashlib.sha256(settings.encode())
    for part in (train,) if valid is None else (train, valid):
        offer = part.offer
        digest.update("\n".join(offer.hint_ids).encode())
        arrays = (offer.states, offer.vectors, offer.candidates, offer.similarities, part.rewards)
        for array in arrays:
            digest.update(f"{array.dtype}{list(array.shape)}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }
