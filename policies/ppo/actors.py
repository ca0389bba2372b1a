"""The two actors: one output a trained hint, or a score for any hint there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from agentrec.policies.ppo.layers import StackedMLP
from agentrec.policies.ppo.situations import Situations

_ACTOR_GAIN = 0.01


class Actor(Protocol):
    """Gives every option of every session a logit; ``-inf`` where it may not be chosen."""

    def __call__(self, situations: Situations) -> torch.Tensor:
        """Unnormalised log-probabilities, ``[num_networks, batch, 1 + width]``."""
        ...


class CategoricalActor(nn.Module):
    """One output for each trained hint, and one for no hint.

    A hint it was not trained on cannot be chosen.

    Source: Re2LLM (arXiv 2403.16427), implementation details: two hidden layers of 64, tanh,
    orthogonal initialisation.
    Differs: logits have shape ``[..., num_options]`` and every softmax names the last axis; an
    extra axis of length 1 made the reference policy uniform. An option is known by its hint's
    content-derived id, never by its place in a list.

    Args:
        num_features: Width of a standardised state.
        num_hints: How many hints it is trained on.
        hidden_sizes: Widths of the hidden layers.
        generators: One a network.
    """

    def __init__(
        self,
        num_features: int,
        num_hints: int,
        hidden_sizes: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        sizes = [num_features, *hidden_sizes, 1 + num_hints]
        self.options = StackedMLP(sizes, _ACTOR_GAIN, generators)

    def forward(self, situations: Situations) -> torch.Tensor:
        """Logits, ``[num_networks, batch, 1 + width]``."""
        outputs = self.options(situations.features)
        none, hints = outputs[..., :1], outputs[..., 1:]
        unknown = torch.full_like(none, float("-inf"))
        hints = torch.cat([hints, unknown], dim=-1)
        which = situations.trained[situations.candidates].expand(len(outputs), -1, -1)
        logits = torch.cat([none, hints.gather(2, which)], dim=-1)
        return logits.masked_fill(~situations.allowed, float("-inf"))


class ScoringActor(nn.Module):
    """Scores a session with a hint by what the hint's text says, so hints can come and go.

    The score is the product of two towers, one over the session, one over the hint, plus what
    speaks for the hint whatever the session. "No hint" is scored by a tower of its own.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: the paper's actor has one output a hint, and is trained anew when hints change.

    Args:
        num_features: Width of a standardised state.
        num_hint_features: Width of a hint's features.
        hidden_sizes: Widths of the hidden layers over a session; the last one gives way to
            ``latent_size``.
        latent_size: Width of what the towers are compared in.
        generators: One a network.
    """

    def __init__(
        self,
        num_features: int,
        num_hint_features: int,
        hidden_sizes: Sequence[int],
        latent_size: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.session = StackedMLP([num_features, *hidden_sizes[:-1], latent_size], 1.0, generators)
        self.hint = StackedMLP([num_hint_features, latent_size], 0.1, generators)
        self.appeal = StackedMLP([num_hint_features, 1], _ACTOR_GAIN, generators)
        self.none = StackedMLP([num_features, *hidden_sizes[:-1], 1], _ACTOR_GAIN, generators)

    def forward(self, situations: Situations) -> torch.Tensor:
        """Logits, ``[num_networks, batch, 1 + width]``."""
        session = self.session(situations.features)
        none = self.none(situations.features)
        hints = situations.hint_features
        hint, appeal = self.hint(hints), self.appeal(hints).squeeze(-1)
        networks, batch, latent = session.shape
        candidates = situations.candidates.expand(networks, -1, -1)
        width = candidates.shape[-1]
        if len(hints) <= 2 * width:
            matched = (session @ hint.transpose(1, 2)).gather(2, candidates)
        else:
            flat = candidates.reshape(networks, -1, 1).expand(-1, -1, latent)
            own = hint.gather(1, flat).view(networks, batch, width, latent)
            matched = (own @ session[..., None]).squeeze(-1)
        liked = appeal.gather(1, candidates.reshape(networks, -1)).view(networks, batch, width)
        logits = torch.cat([none, matched / latent**0.5 + liked], dim=-1)
        return logits.masked_fill(~situations.allowed, float("-inf"))
