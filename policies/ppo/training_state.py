"""Which iterate of each network to keep: the best on validation sessions, luck smoothed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from agentrec.policies.ppo.config import CurvePoint
from agentrec.policies.ppo.networks import ActorCritics
from agentrec.policies.ppo.rollout import Learner
from agentrec.policies.training_checkpoint import (
    Checkpoint,
    below,
    fingerprint,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from agentrec.rewarded_offers import RewardedOffer


class BestIterates:
    """Keeps a copy of each network with its best recent mean of validation gains.

    A single look at a few hundred sessions is mostly luck (its standard error is about as large
    as the differences sought), so an iterate is scored by the mean of the last ``window`` looks.

    Args:
        networks: The networks; their copies start as they are.
        window: Looks to average, at least 1. Fewer than that many looks are no score yet, so
            earlier iterates cannot win, unless training ends before.
    """

    def __init__(self, networks: nn.Module, num_networks: int, window: int) -> None:
        self._window = window
        self._recent = torch.zeros(0, num_networks)
        self._scores = torch.full((num_networks,), float("-inf"))
        self._full = torch.zeros(num_networks, dtype=torch.bool)
        self._weights = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
        self.iterations = torch.full((num_networks,), -1, dtype=torch.int64)

    def offer(self, networks: nn.Module, iteration: int, valid_gains: torch.Tensor) -> None:
        """Look at one more iterate; of equals the earlier one stays.

        Args:
            networks: The networks after ``iteration``.
            iteration: Its 0-based number.
            valid_gains: Mean measured gain of each one's greedy policy on the validation
                sessions, ``[num_networks]``.
        """
        self._recent = torch.cat([self._recent, valid_gains[None]])[-self._window :]
        scores = self._recent.mean(dim=0)
        full = len(self._recent) == self._window
        better = (scores > self._scores) if full else (scores > self._scores) & ~self._full
        if full:
            better |= ~self._full
        self._scores = torch.where(better, scores, self._scores)
        self._full |= full
        self.iterations[better] = iteration
        for name, tensor in networks.state_dict().items():
            self._weights[name][better] = tensor[better]

    @torch.no_grad()
    def restore(self, networks: nn.Module) -> None:
        """Put the best weights back, where there was a look at all."""
        looked = self.iterations >= 0
        for name, tensor in networks.state_dict().items():
            tensor[looked] = self._weights[name][looked]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is remembered, by name."""
        return {
            "recent": self._recent,
            "scores": self._scores,
            "full": self._full.to(torch.uint8),
            "iterations": self.iterations,
            **{f"weights.{name}": tensor for name, tensor in self._weights.items()},
        }

    def remember(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        self._recent = tensors["recent"].clone()
        self._scores = tensors["scores"].clone()
        self._full = tensors["full"].to(torch.bool)
        self.iterations = tensors["iterations"].clone()
        self._weights = {name: tensors[f"weights.{name}"].clone() for name in self._weights}


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
