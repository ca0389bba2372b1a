"""All that a training has come to, and how it lies on disk: stopped anywhere, it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from agentrec.policies.ppo.actor_critic import ActorCritics
from agentrec.policies.ppo.iterate_selection import BestIterates
from agentrec.policies.ppo.training_curve import CurvePoint
from agentrec.policies.ppo.updates import Learner
from agentrec.policies.training_checkpoint import (
    Checkpoint,
    below,
    fingerprint,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from agentrec.rewarded_offers import RewardedOffer

_KIND = "ppo-training"


class _State(Checkpoint):
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
            training: What ``training_of`` says.
        """
        tensors = {f"networks.{name}": one for name, one in self.networks.state_dict().items()}
        tensors |= {f"best.{name}": one for name, one in self.best.tensors().items()}
        tensors |= {f"generators.{at}": one.get_state() for at, one in enumerate(self.generators)}
        state = _State(
            training=training,
            iteration=self.iteration,
            steps=self.learner.taken,
            curve=tuple(self.curve),
        )
        write_checkpoint(folder, _KIND, state, tensors, self.learner.optimiser)

    def go_on(self, folder: Path, training: str) -> bool:
        """Take up what ``save`` wrote.

        Args:
            folder: Where.
            training: What ``training_of`` says.

        Returns:
            Whether there was a state of this very training; what is left of another one, or of
            none that can be read, is passed over.
        """
        found = read_checkpoint(folder, _KIND, _State, training)
        if found is None:
            return False
        state, tensors = found
        self.networks.load_state_dict(below("networks.", tensors))
        self.best.remember(below("best.", tensors))
        for at, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generators.{at}"])
        restore_optimiser(self.learner.optimiser, tensors)
        self.learner.taken = state.steps
        self.curve = list(state.curve)
        self.iteration = state.iteration
        return True


def training_of(settings: str, train: RewardedOffer, valid: RewardedOffer | None) -> str:
    """What a training is made of, as a hash; see ``fingerprint``."""
    parts = [train] if valid is None else [train, valid]
    names = [hint_id for part in parts for hint_id in part.offer.hint_ids]
    arrays = [
        array
        for part in parts
        for array in (
            part.offer.states,
            part.offer.vectors,
            part.offer.candidates,
            part.offer.similarities,
            part.rewards,
        )
    ]
    return fingerprint(settings, names, arrays)
