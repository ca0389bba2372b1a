"""Sessions whose best hint is known, with rewards as jumpy as real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintOffer, unit_rows
from agentrec.hints import Hint
from agentrec.rewarded_offers import RewardedOffer

_CANDIDATES = 50
_LIST_LENGTH = 10
_TASTES = 6
_BASE_NDCG = 0.2
_REACH = 0.4
_FLOOR = 0.02
_STATE_JITTER = 0.5


@dataclass(frozen=True, eq=False)
class PlantedRewards:
    """A made-up world in which the worth of each option is known.

    ``session_ids``, ``hint_ids`` and ``ndcg`` are just what a reward table is made of.

    Attributes:
        states: Encoded sessions, shape ``[num_sessions, state_dim]``.
        session_ids: One a row.
        hints: One for each of the columns ``1 .. num_hints``.
        vectors: Text vectors of the hints, of length 1, shape ``[num_hints, state_dim]``: they
            say which tastes a hint suits, in the space of the states.
        ndcg: The NDCG@10 as measured once, noise included, 0 to 1, shape
            ``[num_sessions, 1 + num_hints]``; column 0 is "no hint".
        expected_ndcg: The mean NDCG@10 behind each entry of the table, 0 to 1, shape
            ``[num_sessions, 1 + num_hints]``; column 0 is "no hint".
    """

    states: npt.NDArray[np.float32]
    session_ids: tuple[str, ...]
    hints: tuple[Hint, ...]
    vectors: npt.NDArray[np.float32]
    ndcg: npt.NDArray[np.float32]
    expected_ndcg: npt.NDArray[np.float32]

    @property
    def hint_ids(self) -> tuple[str, ...]:
        """The ids of ``hints``, in order."""
        return tuple(hint.hint_id for hint in self.hints)

    @property
    def expected_gains(self) -> npt.NDArray[np.float32]:
        """Expected NDCG@10 minus that of no hint, shape ``[num_sessions, 1 + num_hints]``."""
        gains: npt.NDArray[np.float32] = self.expected_ndcg - self.expected_ndcg[:, :1]
        return gains

    @property
    def best_options(self) -> npt.NDArray[np.int64]:
        """The best column of each session, 0 for no hint, shape ``[num_sessions]``."""
        best: npt.NDArray[np.int64] = self.expected_ndcg.argmax(axis=1)
        return best

    @property
    def optimal_gain(self) -> float:
        """Mean expected gain of a policy that always takes the best option, at least 0."""
        return float(self.expected_gains.max(axis=1).mean())

    def offer(self) -> HintOffer:
        """Every session is offered all the hints."""
        return HintOffer.of_all(self.states, self.hints, self.vectors, self.states)

    def rewarded(self) -> RewardedOffer:
        """The same with what was measured of each, noise included."""
        return RewardedOffer(self.offer(), self.ndcg - self.ndcg[:, :1])

    def gains_of(self, hint_ids: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Expected gain of each session under a chosen hint, ``None`` for no hint.

        Args:
            hint_ids: One choice a session, in order.

        Returns:
            Shape ``[num_sessions]``, -1 to 1.
        """
        column: dict[str | None, int] = {None: 0}
        column.update({hint_id: 1 + at for at, hint_id in enumerate(self.hint_ids)})
        options = [column[hint_id] for hint_id in hint_ids]
        gains: npt.NDArray[np.float32] = self.expected_gains[np.arange(len(options)), options]
        return gains

    def between(self, start: int, stop: int) -> PlantedRewards:
        """The sessions ``start .. stop - 1`` of the same world: a train or a test part."""
        return PlantedRewards(
            self.states[start:stop],
            self.session_ids[start:stop],
            self.hints,
            self.vectors,
            self.ndcg[start:stop],
            self.expected_ndcg[start:stop],
        )


def planted_rewards(
    num_sessions: int,
    num_hints: int,
    state_dim: int,
    signal: float,
    noise: float,
    seed: int,
) -> PlantedRewards:
    """Make sessions with hidden tastes, and hints that suit some tastes and harm others.

    Each state is a random linear image of a few hidden tastes plus jitter. A hint moves the mean
    NDCG@10 of a session up or down with its match to the tastes; most hints harm most sessions,
    as real ones do. A measurement is drawn around that mean: at full noise, the target takes one of
    50 ranks, tilted towards the first as much as the mean requires, so that an entry jumps between
    0 and 1.

    Args:
        num_sessions: How many, at least 1.
        num_hints: How many, at least 0.
        state_dim: Width of a state, at least 1.
        signal: How much tastes decide, 0 to 1; at 0 all options of a session are worth the same
            (see ``pure_noise_rewards``).
        noise: Share of an entry that is drawn, 0 (the exact mean) to 1 (one real-looking answer).
        seed: Same seed, same world.
    """
    if not 0 <= signal <= 1 or not 0 <= noise <= 1:
        raise ValueError(f"signal and noise lie in 0 to 1, not {signal} and {noise}")
    generator = np.random.default_rng(seed)
    tastes = generator.standard_normal((num_sessions, _TASTES))
    mixing = generator.standard_normal((_TASTES, state_dim)) / np.sqrt(_TASTES)
    jitter = _STATE_JITTER * generator.standard_normal((num_sessions, state_dim))
    states = (tastes @ mixing + jitter).astype(np.float32)

    wishes = generator.standard_normal((_TASTES, num_hints))
    wishes /= np.linalg.norm(wishes, axis=0, keepdims=True)
    match = np.tanh(tastes @ wishes - 0.5)
    moved = np.concatenate([np.zeros((num_sessions, 1)), match], axis=1)
    expected = np.clip(_BASE_NDCG + signal * _REACH * moved, _FLOOR, 1.0)

    drawn = _draw_ndcg(expected, generator)
    ndcg = (1 - noise) * expected + noise * drawn
    return PlantedRewards(
        states,
        tuple(f"session-{number}" for number in range(num_sessions)),
        tuple(Hint(text=f"Follow planted advice {number}.") for number in range(num_hints)),
        unit_rows((wishes.T @ mixing).astype(np.float32)),
        np.clip(ndcg, 0, 1).astype(np.float32),
        expected.astype(np.float32),
    )


def pure_noise_rewards(
    num_sessions: int, num_hints: int, state_dim: int, seed: int
) -> PlantedRewards:
    """Make a world in which no hint is worth anything, and measurements are noise.

    Args:
        num_sessions: How many, at least 1.
        num_hints: How many, at least 0.
        state_dim: Width of a state, at least 1.
        seed: Same seed, same world.
    """
    return planted_rewards(num_sessions, num_hints, state_dim, signal=0.0, noise=1.0, seed=seed)


def _draw_ndcg(
    means: npt.NDArray[np.float64], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw NDCG@10 values with the given means from exponentially tilted random ranks."""
    ranks = np.arange(1, _CANDIDATES + 1)
    worth = np.where(ranks <= _LIST_LENGTH, 1 / np.log2(ranks + 1), 0.0)
    tilts = np.linspace(-20, 40, 1201)
    weights = np.exp(tilts[:, None] * (worth - 1)[None, :])
    weights /= weights.sum(axis=1, keepdims=True)
    tilt_of_mean = np.interp(means, weights @ worth, tilts)
    cumulative = weights.cumsum(axis=1)
    row = np.rint((tilt_of_mean - tilts[0]) / (tilts[1] - tilts[0])).astype(np.int64)
    uniform = generator.random(means.shape)
    drawn = (uniform[..., None] > cumulative[row]).sum(axis=-1)
    values: npt.NDArray[np.float64] = worth[np.minimum(drawn, _CANDIDATES - 1)]
    return values
