"""Trained networks computed by numpy: for one session, torch takes several times as long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintOffer
from agentrec.policies.ppo.networks import (
    ActorCritics,
    CategoricalActor,
    HintFeatures,
    ScoringActor,
    StackedMLP,
)
from agentrec.policies.standardiser import Standardiser

# Sessions computed at once: more need more memory and are no quicker.
_CHUNK = 1024

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.int64]
_Logits = Callable[[_Floats, _Indices], _Floats]
"""From features and candidates of some sessions to ``[num_networks, some, 1 + width]``; any value
where there is no candidate."""


class NumpyActorCritics:
    """Trained actors and critics; they share torch's memory.

    Args:
        networks: The trained networks.
        standardiser: From raw states to the networks' features.
        hints: Features of hints, and which hints were trained on.
    """

    def __init__(
        self, networks: ActorCritics, standardiser: Standardiser, hints: HintFeatures
    ) -> None:
        self._standardiser = standardiser
        self._critic = _NumpyMLP(networks.critic)
        self._actor: _Actor
        if isinstance(networks.actor, ScoringActor):
            self._actor = _NumpyScoringActor(networks.actor, hints)
        elif isinstance(networks.actor, CategoricalActor):
            self._actor = _NumpyCategoricalActor(networks.actor, hints)
        else:
            raise TypeError(f"no numpy version of {type(networks.actor).__name__}")

    def probabilities_and_values(self, offer: HintOffer) -> tuple[_Floats, _Floats]:
        """Compute the averages over all networks.

        Returns:
            Probabilities ``[batch, 1 + width]``, 0 where there is no candidate, and predicted
            rewards ``[batch]``.

        Raises:
            ValueError: The states, or the hints' vectors, are not as wide as the trained ones.
        """
        features = self._standardiser(offer.states)
        logits_of = self._actor.logits_of(offer)
        probabilities, values = [], []
        for start in range(0, max(1, len(offer)), _CHUNK):
            some = slice(start, start + _CHUNK)
            logits = logits_of(features[some], offer.candidates[some])
            # Masked before the softmax: what is on offer shares all of the probability.
            logits[:, :, 1:][:, ~offer.present[some]] = -np.inf
            logits -= logits.max(axis=-1, keepdims=True)
            shares = np.exp(logits, out=logits)
            shares /= shares.sum(axis=-1, keepdims=True)
            probabilities.append(_mean(shares))
            values.append(_mean(self._critic(features[some])[:, :, 0]))
        return _joined(probabilities), _joined(values)


class _NumpyMLP:
    """``StackedMLP``: ``[batch, wide_in]`` -> ``[num_networks, batch, wide_out]``."""

    def __init__(self, trained: StackedMLP) -> None:
        self._layers = [
            (weight.detach().numpy(), bias.detach().numpy()) for weight, bias in trained.layers
        ]

    def __call__(self, inputs: _Floats) -> _Floats:
        outputs = inputs
        for layer, (weight, bias) in enumerate(self._layers):
            if layer:
                np.tanh(outputs, out=outputs)
            outputs = outputs @ weight
            outputs += bias
        return outputs


class _Actor(Protocol):
    def logits_of(self, offer: HintOffer) -> _Logits: ...


class _NumpyScoringActor:
    """``ScoringActor``."""

    def __init__(self, trained: ScoringActor, hints: HintFeatures) -> None:
        self._hints = hints
        self._session, self._hint = _NumpyMLP(trained.session), _NumpyMLP(trained.hint)
        self._appeal, self._none = _NumpyMLP(trained.appeal), _NumpyMLP(trained.none)

    def logits_of(self, offer: HintOffer) -> _Logits:
        # The last index is for "no candidate".
        seen = self._hints(offer.vectors)
        seen = np.concatenate([seen, np.zeros((1, seen.shape[1]), seen.dtype)])
        hint, appeal = self._hint(seen), self._appeal(seen)[:, :, 0]

        def logits(features: _Floats, candidates: _Indices) -> _Floats:
            session, none = self._session(features), self._none(features)
            if len(seen) <= 2 * offer.width:
                rows = np.arange(len(features))[:, None]
                matched = (session @ hint.transpose(0, 2, 1))[:, rows, candidates]
            else:
                matched = (hint[:, candidates] @ session[..., None])[..., 0]
            matched /= np.float32(session.shape[-1] ** 0.5)
            matched += appeal[:, candidates]
            return np.concatenate([none, matched], axis=-1)

        return logits


class _NumpyCategoricalActor:
    """``CategoricalActor``."""

    def __init__(self, trained: CategoricalActor, hints: HintFeatures) -> None:
        self._hints = hints
        self._options = _NumpyMLP(trained.options)

    def logits_of(self, offer: HintOffer) -> _Logits:
        # The last index is for "no candidate".
        trained = np.append(self._hints.indices_of(offer.hint_ids), -1)

        def logits(features: _Floats, candidates: _Indices) -> _Floats:
            outputs = self._options(features)
            # A hint that was not trained on cannot be chosen.
            unknown = np.full((*outputs.shape[:2], 1), -np.inf, dtype=np.float32)
            hints = np.concatenate([outputs[:, :, 1:], unknown], axis=-1)
            rows = np.arange(len(features))[:, None]
            of_candidates = hints[:, rows, trained[candidates]]
            return np.concatenate([outputs[:, :, :1], of_candidates], axis=-1)

        return logits


def _joined(parts: list[_Floats]) -> _Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _mean(of_networks: _Floats) -> _Floats:
    mean: _Floats = of_networks[0] if len(of_networks) == 1 else of_networks.mean(axis=0)
    return mean
