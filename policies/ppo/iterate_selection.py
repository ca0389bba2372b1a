"""Which of a member's networks to keep: the best on validation sessions, luck smoothed out."""

from __future__ import annotations

from collections import deque

import torch

from agentrec.policies.ppo.network import ActorCritic


class BestIterate:
    """Keeps a copy of the network with the best recent mean of validation gains.

    A single look at a few hundred sessions is mostly luck (its standard error is about as large
    as the differences sought), so an iterate is scored by the mean of the last ``window`` looks.

    Args:
        window: Looks to average, at least 1. Fewer than that many looks are no score yet, so
            earlier iterates cannot win, unless training ends before.
    """

    def __init__(self, window: int) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._best_score = float("-inf")
        self._best_full = False
        self._weights: dict[str, torch.Tensor] | None = None
        self.iteration: int | None = None

    def offer(self, network: ActorCritic, iteration: int, valid_gain: float) -> None:
        """Look at one more iterate; of equals the earlier one stays.

        Args:
            network: The network after ``iteration``; copied if it is the best so far.
            iteration: Its 0-based number.
            valid_gain: Mean measured gain of its greedy policy on the validation sessions.
        """
        self._recent.append(valid_gain)
        score = sum(self._recent) / len(self._recent)
        full = len(self._recent) == self._recent.maxlen
        if (full, score) > (self._best_full, self._best_score):
            self._best_full, self._best_score = full, score
            self._weights = {
                name: weight.detach().clone() for name, weight in network.state_dict().items()
            }
            self.iteration = iteration

    def restore(self, network: ActorCritic) -> None:
        """Put the best weights back; nothing happens if none was offered."""
        if self._weights is not None:
            network.load_state_dict(self._weights)
