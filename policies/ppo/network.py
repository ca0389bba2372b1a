"""The actor and the critic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

_HIDDEN_GAIN = 2**0.5
_ACTOR_GAIN = 0.01
_CRITIC_GAIN = 1.0


class ActorCritic(nn.Module):
    """Two separate tanh networks over the features of a session.

    Source: Re2LLM (arXiv 2403.16427), implementation details: two hidden layers of 64, tanh,
    orthogonal initialisation.
    Differs: logits have shape ``[batch, num_options]`` and every softmax names the last axis; an
    extra axis of length 1 made the reference policy uniform.

    Args:
        num_features: Width of a standardised state.
        num_options: No hint and the hints; option 0 is no hint.
        hidden_sizes: Widths of the hidden layers.
        generator: Source of the initial weights; the global one is not touched.
    """

    def __init__(
        self,
        num_features: int,
        num_options: int,
        hidden_sizes: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.actor = _mlp(num_features, hidden_sizes, num_options, _ACTOR_GAIN, generator)
        self.critic = _mlp(num_features, hidden_sizes, 1, _CRITIC_GAIN, generator)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities, ``[batch, num_features]`` -> ``[batch, num_options]``."""
        logits: torch.Tensor = self.actor(features)
        return logits

    def values(self, features: torch.Tensor) -> torch.Tensor:
        """Predicted rewards, ``[batch, num_features]`` -> ``[batch]``."""
        values: torch.Tensor = self.critic(features)
        return values.squeeze(-1)


def _mlp(
    num_inputs: int,
    hidden_sizes: Sequence[int],
    num_outputs: int,
    last_gain: float,
    generator: torch.Generator,
) -> nn.Sequential:
    """Linear layers with tanh between them; a small last gain starts the policy near uniform."""
    widths = [num_inputs, *hidden_sizes, num_outputs]
    layers: list[nn.Module] = []
    for at, (wide_in, wide_out) in enumerate(pairwise(widths)):
        last = at == len(widths) - 2
        # Made on the meta device, nn.Linear draws no default weights from the global generator.
        layer = nn.Linear(wide_in, wide_out, device="meta").to_empty(device="cpu")
        nn.init.orthogonal_(layer.weight, last_gain if last else _HIDDEN_GAIN, generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
        if not last:
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)
