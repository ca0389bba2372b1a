"""Several actors, each with its critic, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from agentrec.policies.ppo.actors import CategoricalActor, ScoringActor
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.layers import StackedMLP
from agentrec.policies.ppo.situations import Situations

ActorName = Literal["categorical", "scoring"]

_CRITIC_GAIN = 1.0


class ActorCritics(nn.Module):
    """An actor that gives logits and a critic that predicts a session's reward, for each network.

    They share no weight: the critic's error does not pull at the policy.

    Args:
        actor: Which actor.
        num_features: Width of a standardised state.
        num_hint_features: Width of a hint's features; only the scoring actor looks at them.
        num_hints: How many hints are trained on; only the categorical actor needs it.
        config: Sizes of the layers.
        generators: Source of the initial weights, one a network.
    """

    def __init__(
        self,
        actor: ActorName,
        num_features: int,
        num_hint_features: int,
        num_hints: int,
        config: PPOConfig,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.actor: nn.Module
        if actor == "scoring":
            self.actor = ScoringActor(
                num_features,
                num_hint_features,
                config.hidden_sizes,
                config.latent_size,
                generators,
            )
        else:
            self.actor = CategoricalActor(num_features, num_hints, config.hidden_sizes, generators)
        sizes = [num_features, *config.hidden_sizes, 1]
        self.critic = StackedMLP(sizes, _CRITIC_GAIN, generators)

    @property
    def num_networks(self) -> int:
        """How many networks there are."""
        return self.critic.num_networks

    def logits(self, situations: Situations) -> torch.Tensor:
        """Unnormalised log-probabilities, ``[num_networks, batch, 1 + width]``."""
        logits: torch.Tensor = self.actor(situations)
        return logits

    def values(self, situations: Situations) -> torch.Tensor:
        """Predicted rewards, ``[num_networks, batch]``."""
        values: torch.Tensor = self.critic(situations.features)
        return values.squeeze(-1)
