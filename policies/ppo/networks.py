"""Layers of several networks that are computed as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import nn

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.offer_tensors import Situations

_HIDDEN_GAIN = 2**0.5


class StackedMLP(nn.Module):
    """Several tanh networks of one shape side by side, each with weights of its own.

    Training seeds apart repeats the same small matrix products and is mostly overhead; side by
    side they are one batched product. No number of one network enters another.

    Source: Re2LLM (arXiv 2403.16427), implementation details: tanh, orthogonal initialisation.

    Args:
        sizes: Widths from the input to the output, at least two.
        last_gain: Gain of the last layer's orthogonal initialisation; small: starts near 0.
        generators: Source of the initial weights of each network; the global one is not touched.
    """

    def __init__(
        self, sizes: Sequence[int], last_gain: float, generators: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        last = len(sizes) - 2
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for at, (wide_in, wide_out) in enumerate(pairwise(sizes)):
            gain = last_gain if at == last else _HIDDEN_GAIN
            drawn = [
                nn.init.orthogonal_(torch.empty(wide_out, wide_in), gain, generator=one).T
                for one in generators
            ]
            self.weights.append(nn.Parameter(torch.stack(drawn).contiguous()))
            self.biases.append(nn.Parameter(torch.zeros(len(drawn), 1, wide_out)))
        # The same tensors: looking them up in the lists takes longer than computing a small layer.
        self.layers = list(zip(self.weights, self.biases, strict=True))

    @property
    def num_networks(self) -> int:
        """How many networks there are."""
        return len(self.layers[0][0])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute every network.

        Args:
            inputs: Shape ``[batch, wide_in]``, the same for all, or ``[num_networks, batch,
                wide_in]``.

        Returns:
            Shape ``[num_networks, batch, wide_out]``.
        """
        outputs = inputs if inputs.ndim == 3 else inputs.expand(self.num_networks, -1, -1)
        last = len(self.layers) - 1
        for at, (weight, bias) in enumerate(self.layers):
            outputs = torch.baddbmm(bias, outputs, weight)
            if at < last:
                outputs = torch.tanh(outputs)
        return outputs


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
