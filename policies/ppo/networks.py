"""The networks of a PPO policy, and what they see of sessions and hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.standardiser import Standardiser

ActorName = Literal["categorical", "scoring"]

_HIDDEN_GAIN = 2**0.5
_ACTOR_GAIN = 0.01
_CRITIC_GAIN = 1.0


@dataclass(frozen=True, eq=False)
class HintFeatures:
    """Features of hints, those trained on and new ones.

    Attributes:
        hint_ids: The hints trained on.
        standardiser: From text vectors to features, fitted on those hints.
    """

    hint_ids: tuple[str, ...]
    standardiser: Standardiser

    @classmethod
    def fit(
        cls, hint_ids: Sequence[str], vectors: npt.NDArray[np.float32], max_components: int
    ) -> HintFeatures:
        """Fit to the hints that are trained on.

        Args:
            hint_ids: Their ids.
            vectors: Their text vectors, ``[num_hints, dimension]``.
            max_components: Largest number of principal components to keep.
        """
        some = vectors if len(vectors) else np.zeros((1, vectors.shape[1]), dtype=np.float32)
        return cls(tuple(hint_ids), Standardiser.fit(some, max_components))

    def __call__(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map text vectors ``[num_hints, dimension]`` to features ``[num_hints, num_features]``.

        Raises:
            ValueError: The vectors come from another text embedding.
        """
        if vectors.shape[1:] != (self.standardiser.raw_dim,):
            raise ValueError(
                f"the hints' vectors have {vectors.shape[1]} dimensions; this policy was trained "
                f"with a text embedding of {self.standardiser.raw_dim}"
            )
        return self.standardiser(vectors)

    def indices_of(self, hint_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the index of each hint among those trained on, ``len(self.hint_ids)`` if new."""
        known = {hint_id: index for index, hint_id in enumerate(self.hint_ids)}
        return np.array([known.get(one, len(known)) for one in hint_ids], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class OfferTensors:
    """An offer as tensors: sessions, hints, and which hints each session may be given.

    Attributes:
        features: Standardised states, ``[batch, num_features]``; or, where every network sees
            sessions of its own, ``[num_networks, batch, num_features]``.
        hint_features: Features of the hints, ``[num_hints, num_hint_features]``.
        trained: Index of each hint among those trained on, ``num_trained`` if new, ``[num_hints]``.
        candidates: Indices of hints, 0 where there is no candidate; shaped as ``features``, with
            ``width`` as the last axis.
        allowed: Which options may be chosen; as ``candidates``, with a column 0 for no hint.
    """

    features: torch.Tensor
    hint_features: torch.Tensor
    trained: torch.Tensor
    candidates: torch.Tensor
    allowed: torch.Tensor

    @classmethod
    def of(cls, offer: HintOffer, standardiser: Standardiser, hints: HintFeatures) -> Self:
        """Turn an offer into tensors."""
        allowed = np.concatenate([np.ones((len(offer), 1), dtype=bool), offer.present], axis=1)
        return cls(
            torch.from_numpy(standardiser(offer.states)),
            torch.from_numpy(hints(offer.vectors)),
            torch.from_numpy(hints.indices_of(offer.hint_ids)),
            torch.from_numpy(np.where(offer.candidates == NO_CANDIDATE, 0, offer.candidates)),
            torch.from_numpy(allowed),
        )

    def __len__(self) -> int:
        """Return the number of sessions."""
        return self.features.shape[-2]

    def rows(self, indices: torch.Tensor) -> Self:
        """Select sessions by index, ``[batch]``, or ``[num_networks, batch]`` for each network."""
        return replace(
            self,
            features=self.features[indices],
            candidates=self.candidates[indices],
            allowed=self.allowed[indices],
        )

    def only(self, allowed: npt.NDArray[np.bool_]) -> Self:
        """Allow fewer options, ``[batch, 1 + width]``."""
        return replace(self, allowed=self.allowed & torch.from_numpy(allowed))


class StackedMLP(nn.Module):
    """Several tanh networks of one shape side by side, each with weights of its own.

    Side by side, several seeds are one batched product. No number of one network enters another.

    Source: Re2LLM (arXiv 2403.16427), implementation details: tanh, orthogonal initialisation.

    Args:
        sizes: Widths from the input to the output, at least two.
        last_gain: Gain of the last layer's orthogonal initialisation; small: starts near 0.
        generators: Source of the initial weights, one a network; the global one is not touched.
    """

    def __init__(
        self, sizes: Sequence[int], last_gain: float, generators: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        last = len(sizes) - 2
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (wide_in, wide_out) in enumerate(pairwise(sizes)):
            gain = last_gain if layer == last else _HIDDEN_GAIN
            drawn = [
                nn.init.orthogonal_(torch.empty(wide_out, wide_in), gain, generator=one).T
                for one in generators
            ]
            self.weights.append(nn.Parameter(torch.stack(drawn).contiguous()))
            self.biases.append(nn.Parameter(torch.zeros(len(drawn), 1, wide_out)))
        # The same tensors: a look-up in the lists takes longer than a small layer.
        self.layers = list(zip(self.weights, self.biases, strict=True))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute every network.

        Args:
            inputs: ``[batch, wide_in]``, the same for all, or ``[num_networks, batch, wide_in]``.

        Returns:
            Shape ``[num_networks, batch, wide_out]``.
        """
        num_networks, last = len(self.layers[0][0]), len(self.layers) - 1
        outputs = inputs if inputs.ndim == 3 else inputs.expand(num_networks, -1, -1)
        for layer, (weight, bias) in enumerate(self.layers):
            outputs = torch.baddbmm(bias, outputs, weight)
            if layer < last:
                outputs = torch.tanh(outputs)
        return outputs


class CategoricalActor(nn.Module):
    """One output for each hint trained on, and one for no hint; a new hint cannot be chosen.

    Source: Re2LLM (arXiv 2403.16427), implementation details: two hidden layers of 64.
    Differs: every softmax names the last axis, ``num_options``; an extra axis of length 1 made the
    reference policy uniform. An option is known by its hint's id, never by its index in a list.

    Args:
        num_features: Width of a standardised state.
        num_hints: How many hints are trained on.
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

    def forward(self, offer: OfferTensors) -> torch.Tensor:
        """Compute logits, ``[num_networks, batch, 1 + width]``."""
        outputs = self.options(offer.features)
        none, hints = outputs[..., :1], outputs[..., 1:]
        unknown = torch.full_like(none, float("-inf"))
        hints = torch.cat([hints, unknown], dim=-1)
        which = offer.trained[offer.candidates].expand(len(outputs), -1, -1)
        logits = torch.cat([none, hints.gather(2, which)], dim=-1)
        return logits.masked_fill(~offer.allowed, float("-inf"))


class ScoringActor(nn.Module):
    """Scores a session with a hint by the hint's text vector, so hints can come and go.

    The score is the product of two towers, one over the session, one over the hint, plus the
    hint's appeal to any session. A tower of its own scores "no hint".

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: the paper's actor has one output a hint, and is trained anew when hints change.

    Args:
        num_features: Width of a standardised state.
        num_hint_features: Width of a hint's features.
        hidden_sizes: Widths of the hidden layers over a session; ``latent_size`` replaces the last.
        latent_size: Width in which the towers are compared.
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

    def forward(self, offer: OfferTensors) -> torch.Tensor:
        """Compute logits, ``[num_networks, batch, 1 + width]``."""
        session = self.session(offer.features)
        none = self.none(offer.features)
        hints = offer.hint_features
        hint, appeal = self.hint(hints), self.appeal(hints).squeeze(-1)
        networks, batch, latent = session.shape
        candidates = offer.candidates.expand(networks, -1, -1)
        width = candidates.shape[-1]
        if len(hints) <= 2 * width:
            matched = (session @ hint.transpose(1, 2)).gather(2, candidates)
        else:
            flat = candidates.reshape(networks, -1, 1).expand(-1, -1, latent)
            own = hint.gather(1, flat).view(networks, batch, width, latent)
            matched = (own @ session[..., None]).squeeze(-1)
        liked = appeal.gather(1, candidates.reshape(networks, -1)).view(networks, batch, width)
        logits = torch.cat([none, matched / latent**0.5 + liked], dim=-1)
        return logits.masked_fill(~offer.allowed, float("-inf"))


class ActorCritics(nn.Module):
    """For each network an actor, which gives logits, and a critic, which predicts the reward.

    They share no weight: the critic's error does not pull at the policy.

    Args:
        actor: Which actor.
        num_features: Width of a standardised state.
        num_hint_features: Width of a hint's features; only the scoring actor uses it.
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
        hidden = config.hidden_sizes
        self.actor: nn.Module
        if actor == "scoring":
            self.actor = ScoringActor(
                num_features, num_hint_features, hidden, config.latent_size, generators
            )
        else:
            self.actor = CategoricalActor(num_features, num_hints, hidden, generators)
        self.critic = StackedMLP([num_features, *hidden, 1], _CRITIC_GAIN, generators)

    def logits(self, offer: OfferTensors) -> torch.Tensor:
        """Unnormalised log-probabilities, ``[num_networks, batch, 1 + width]``."""
        logits: torch.Tensor = self.actor(offer)
        return logits

    def values(self, offer: OfferTensors) -> torch.Tensor:
        """Predicted rewards, ``[num_networks, batch]``."""
        values: torch.Tensor = self.critic(offer.features)
        return values.squeeze(-1)
