"""One Bayesian linear regression a hint: what it brings to a session with given features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintOffer


@dataclass(frozen=True, eq=False)
class LinearPosterior:
    """Weights of each hint and how sure they are; the hints share nothing.

    A hint that was never observed has weights of 0 and the widest doubt.

    Source: LinUCB (arXiv 1003.0146), Algorithm 1: ``A_a`` and ``b_a``.
    Differs: kept as the mean and the inverse of ``A_a``, which an observation updates in place of
    being inverted at each step (Sherman and Morrison); the identity is scaled by ``ridge``.

    Attributes:
        hint_ids: The hints.
        means: Their weights, shape ``[num_hints, num_features]``.
        inverses: ``A_a`` inverted, shape ``[num_hints, num_features, num_features]``.
        ridge: Weight of the prior, above 0: so many sessions' worth of "it brings nothing".
    """

    hint_ids: tuple[str, ...]
    means: npt.NDArray[np.floating]
    inverses: npt.NDArray[np.floating]
    ridge: float

    @classmethod
    def prior(cls, hint_ids: Sequence[str], num_features: int, ridge: float) -> Self:
        """Nothing is known yet; double precision, for many updates to come."""
        means = np.zeros((len(hint_ids), num_features))
        inverses = np.tile(np.eye(num_features) / ridge, (len(hint_ids), 1, 1))
        return cls(tuple(hint_ids), means, inverses, ridge)

    def as_float32(self) -> Self:
        """The same in the precision in which it acts and is stored."""
        return type(self)(
            self.hint_ids,
            self.means.astype(np.float32),
            self.inverses.astype(np.float32),
            self.ridge,
        )

    def at(
        self, hints: npt.NDArray[np.int64], features: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """Mean and spread of what some hints bring to one session.

        Args:
            hints: Places in ``hint_ids``, shape ``[some]``.
            features: Of the session, shape ``[num_features]``.

        Returns:
            Both of shape ``[some]``; the spread is in units of the noise of one reward.
        """
        variances = (self.inverses[hints] @ features) @ features
        return self.means[hints] @ features, np.sqrt(np.maximum(variances, 0))

    def observe(self, hint: int, features: npt.NDArray[np.floating], reward: float) -> None:
        """Learn, in place, what one hint brought to one session."""
        direction = self.inverses[hint] @ features
        size = 1 + features @ direction
        self.means[hint] += direction * ((reward - self.means[hint] @ features) / size)
        self.inverses[hint] -= np.outer(direction, direction) / size

    def mean_of(
        self, offer: HintOffer, features: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Expected reward of every candidate, ``[batch, width]``; something where there is none.

        Args:
            offer: What is on offer.
            features: Of its sessions, shape ``[batch, num_features]``.
        """
        means = np.zeros((1 + len(offer.hints), features.shape[1]), dtype=np.float32)
        known = self._known(offer)
        means[list(known)] = self.means[list(known.values())]
        return _of_candidates(features @ means.T, offer)

    def spread_of(
        self, offer: HintOffer, features: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """How unsure the expected rewards are, in units of the noise; as ``mean_of``."""
        norms = np.square(features).sum(axis=1) / np.float32(self.ridge)
        variances = np.tile(norms[:, None], (1, 1 + len(offer.hints)))
        for place, hint in self._known(offer).items():
            variances[:, place] = ((features @ self.inverses[hint]) * features).sum(axis=1)
        return _of_candidates(np.sqrt(np.maximum(variances, 0)), offer)

    def _known(self, offer: HintOffer) -> dict[int, int]:
        """From the places of an offer's hints to their places here."""
        here = {hint_id: at for at, hint_id in enumerate(self.hint_ids)}
        return {at: here[one] for at, one in enumerate(offer.hint_ids) if one in here}


def _of_candidates(of_hints: npt.NDArray[np.float32], offer: HintOffer) -> npt.NDArray[np.float32]:
    """From ``[batch, num_hints + 1]``, the last for "no candidate", to ``[batch, width]``."""
    chosen: npt.NDArray[np.float32] = of_hints[np.arange(len(offer))[:, None], offer.candidates]
    return chosen
