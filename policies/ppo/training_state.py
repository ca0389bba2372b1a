"""The state of a PPO training: networks, optimiser, best weights so far, learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from agentrec.hint_offers import RewardedOffer
from agentrec.policies.ppo.config import CurvePoint
from agentrec.policies.ppo.networks import ActorCritics
from agentrec.policies.ppo.rollout import PPOLearner
from agentrec.policies.training_checkpoint import (
    ResumableTraining,
    Tensors,
    below,
    data_fingerprint,
)


class BestWeights:
    """Keeps, of each network, the weights with the best recent mean of validation gains.

    One evaluation on a few hundred sessions is mostly luck: its standard error is about as large
    as the differences sought. So weights are scored by the mean of the last ``window`` evaluations.

    Args:
        networks: The networks; their weights are kept as they are at first.
        num_networks: How many there are.
        window: Evaluations to average, at least 1. Fewer are no score yet, unless training ends
            before.
    """

    def __init__(self, networks: nn.Module, num_networks: int, window: int) -> None:
        self._window = window
        self._recent = torch.zeros(0, num_networks)
        self._scores = torch.full((num_networks,), float("-inf"))
        self._full = torch.zeros(num_networks, dtype=torch.bool)
        self._weights = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
        self.iterations = torch.full((num_networks,), -1, dtype=torch.int64)

    def update(self, networks: nn.Module, iteration: int, valid_gains: torch.Tensor) -> None:
        """Keep the current weights where they are the best; of equals the earlier ones stay.

        Args:
            networks: The networks after ``iteration``.
            iteration: Its 0-based number.
            valid_gains: Mean measured gain of each greedy policy on the validation sessions,
                ``[num_networks]``.
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
    def copy_to(self, networks: nn.Module) -> None:
        """Put the best weights back into the networks that were evaluated at all."""
        evaluated = self.iterations >= 0
        for name, tensor in networks.state_dict().items():
            tensor[evaluated] = self._weights[name][evaluated]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the whole state, by name."""
        return {
            "recent": self._recent,
            "scores": self._scores,
            "full": self._full.to(torch.uint8),
            "iterations": self.iterations,
            **{f"weights.{name}": tensor for name, tensor in self._weights.items()},
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what ``tensors`` returned."""
        self._recent = tensors["recent"].clone()
        self._scores = tensors["scores"].clone()
        self._full = tensors["full"].to(torch.bool)
        self.iterations = tensors["iterations"].clone()
        self._weights = {name: tensors[f"weights.{name}"].clone() for name in self._weights}


class _Progress(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    iteration: int
    steps: int
    curve: tuple[CurvePoint, ...]


class PPOTrainingState(ResumableTraining[_Progress]):
    """Everything that changes while training.

    Args:
        networks: The networks.
        learner: Their optimiser.
        best: The best weights so far.
        generators: Source of everything drawn, one a network.

    Attributes:
        curve: The learning curve so far.
        iteration: Number of iterations done.
    """

    kind = "ppo-training"
    progress_model = _Progress

    def __init__(
        self,
        networks: ActorCritics,
        learner: PPOLearner,
        best: BestWeights,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.networks = networks
        self.learner = learner
        self.optimiser = learner.optimiser
        self.best = best
        self.generators = generators
        self.curve: list[CurvePoint] = []
        self.iteration = 0

    def progress(self) -> _Progress:
        """See ``ResumableTraining``."""
        steps = self.learner.steps_taken
        return _Progress(iteration=self.iteration, steps=steps, curve=tuple(self.curve))

    def tensors(self) -> dict[str, torch.Tensor]:
        """See ``ResumableTraining``."""
        return {
            **{f"networks.{name}": one for name, one in self.networks.state_dict().items()},
            **{f"best.{name}": one for name, one in self.best.tensors().items()},
            **{f"generators.{i}": one.get_state() for i, one in enumerate(self.generators)},
        }

    def restore(self, progress: _Progress, tensors: Tensors) -> None:
        """See ``ResumableTraining``."""
        self.networks.load_state_dict(below("networks.", tensors))
        self.best.load(below("best.", tensors))
        for index, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generators.{index}"])
        self.learner.steps_taken = progress.steps
        self.curve = list(progress.curve)
        self.iteration = progress.iteration


def training_fingerprint(settings: str, train: RewardedOffer, valid: RewardedOffer | None) -> str:
    """Return what a training is made of, as a hash; see ``data_fingerprint``."""
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
    return data_fingerprint(settings, names, arrays)
