"""Successive halving: which hints to measure on which session, where all would cost too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.policies.rewards.reward_table import RewardTable

_Floats = npt.NDArray[np.float64]

_MAX_COMPONENTS = 8
_PRIOR_CELLS = 4
_PASSES = 2
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def predicted_gains(
    states: npt.NDArray[np.float32], gains: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Predict what every hint brings every session.

    The mean of a hint, shrunk towards that of all hints as if four more cells had shown it, plus
    what a ridge regression on the session's state adds for this hint; the penalty, one for all
    hints, is the one that predicts left-out cells best. How easy a session is moves all of its
    gains alike and would look like a hint's effect, so a session's own level is subtracted before.
    Effects also look like a level, so this is done once more with the effects found.

    Args:
        states: Encoded sessions, shape ``[num_rows, state_dim]``.
        gains: Measured gains, -1 to 1, NaN elsewhere, shape ``[num_rows, num_hints]``.

    Returns:
        Shape ``[num_rows, num_hints]``; for comparing hints within a row.
    """
    measured = ~np.isnan(gains)
    values = np.where(measured, gains, 0).astype(np.float64)
    overall = values.sum() / max(1, measured.sum())
    means = (values.sum(axis=0) + _PRIOR_CELLS * overall) / (measured.sum(axis=0) + _PRIOR_CELLS)
    features = _components(states)
    effects = np.zeros(values.shape)
    for _ in range(_PASSES):
        rest = np.where(measured, values - means - effects, 0)
        level = rest.sum(axis=1, keepdims=True) / (1 + measured.sum(axis=1, keepdims=True))
        rest = np.where(measured, values - means - level, 0)
        fits = [_ridge(features, rest, measured, penalty) for penalty in _PENALTIES]
        weights, _ = min(fits, key=lambda fit: fit[1])
        effects = features @ weights
    predicted: _Floats = means + effects
    return predicted


def _components(states: npt.NDArray[np.float32]) -> _Floats:
    """The main directions of standardised states, with a mean square of 1 over all of them.

    Directions keep their relative sizes, so that ridge trusts the large ones first.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    standard = centred / np.where(spread > 0, spread, 1)
    left, sizes, _ = np.linalg.svd(standard, full_matrices=False)
    scores = left[:, :_MAX_COMPONENTS] * sizes[:_MAX_COMPONENTS]
    scale = np.sqrt(np.square(scores).mean()) if scores.size else 0.0
    components: _Floats = scores / scale if scale > 0 else scores
    return components


def _ridge(
    features: _Floats, rest: _Floats, measured: npt.NDArray[np.bool_], penalty: float
) -> tuple[_Floats, float]:
    """Weights of each hint, ``[components, num_hints]``, and their squared leave-one-out error."""
    error = 0.0
    weights = np.zeros((features.shape[1], rest.shape[1]))
    for hint in range(rest.shape[1]):
        rows = measured[:, hint]
        known, wanted = features[rows], rest[rows, hint]
        inverse = np.linalg.inv(known.T @ known + penalty * np.eye(known.shape[1]))
        weights[:, hint] = inverse @ (known.T @ wanted)
        leverage = np.einsum("ij,jk,ik->i", known, inverse, known)
        error += float(np.square((wanted - known @ weights[:, hint]) / (1 - leverage)).sum())
    return weights, error


Cell = tuple[int, int]
"""A row of a reward table and one of its columns ``1 .. num_hints``."""


@dataclass(frozen=True, eq=False)
class HalvingRound:
    """What one round measures.

    Attributes:
        number: Of the round, from 0.
        cells: The cells to measure, none of them measured before, in the order of rows.
        survivors: Which hints a session is still tried with, bool, shape
            ``[num_rows, num_hints]``.
    """

    number: int
    cells: tuple[Cell, ...]
    survivors: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SuccessiveHalving:
    """A plan that measures few hints a session, and mostly those that do it good.

    The first round tries a few hints on each session, all of them equally often. Then the answers
    of all sessions predict what each session's other hints would bring. The better half survives,
    the best of it are measured, and so on. With the default rounds a session takes 1 + 9 calls,
    whatever the number of hints.

    A cell is chosen by other cells, never by its own value, so the choice adds no luck to a row.
    Plans follow from the seed and the measurements: a run that was stopped asks the same again,
    and its journal answers.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (arXiv 1502.07943): successive halving.
    Differs: the same question has the same answer, so a round does not repeat its survivors; it
    predicts them from other sessions' answers.

    Attributes:
        rounds: How many hints each round measures for a session, each at least 1. A session has
            all hints measured where there are no more than their sum.
        seed: Decides which session starts with which hints.

    Raises:
        ValueError: If there is no round, or one measures nothing.
    """

    rounds: tuple[int, ...] = (4, 3, 2)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.rounds or min(self.rounds) < 1:
            raise ValueError(f"rounds {list(self.rounds)} must each measure at least 1 hint")

    def calls_per_row(self, num_hints: int) -> int:
        """Return how many options of each row are measured in the end, no hint included."""
        return 1 + min(sum(self.rounds), num_hints)

    def first_round(self, num_rows: int, num_hints: int) -> HalvingRound:
        """Try every hint equally often, give or take one, each time with other hints.

        Args:
            num_rows: Rows of the table, at least 0.
            num_hints: Columns beside no hint, at least 0.
        """
        dealt = _dealt(num_rows, num_hints, self.rounds[0], np.random.default_rng(self.seed))
        cells = tuple((row, 1 + hint) for row, hints in enumerate(dealt) for hint in sorted(hints))
        return HalvingRound(0, cells, np.ones((num_rows, num_hints), dtype=np.bool_))

    def next_round(
        self, last: HalvingRound, states: npt.NDArray[np.float32], table: RewardTable
    ) -> HalvingRound | None:
        """Halve what survives and measure the best of it.

        Args:
            last: The round before, all of it measured.
            states: Encoded sessions of the rows, shape ``[num_rows, state_dim]``.
            table: What was measured so far.

        Returns:
            The round, or ``None`` if the last one was the last.

        Raises:
            ValueError: If states, table and round do not belong together.
        """
        if len(states) != len(table) or last.survivors.shape != (len(table), len(table.hint_ids)):
            raise ValueError(
                f"{len(states)} states and a round of shape {list(last.survivors.shape)} do not "
                f"fit a table of {len(table)} rows and {len(table.hint_ids)} hints"
            )
        number = last.number + 1
        left = last.survivors & ~table.measured[:, 1:]
        if number >= len(self.rounds) or not left.any():
            return None
        scores = np.where(left, predicted_gains(states, table.gains[:, 1:]), -np.inf)
        rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
        # Enough survive for the later rounds, so that the number of calls is known.
        half = np.maximum(-(-left.sum(axis=1, keepdims=True) // 2), sum(self.rounds[number:]))
        cells = np.argwhere(left & (rank < self.rounds[number]))
        return HalvingRound(
            number, tuple((row, 1 + hint) for row, hint in cells.tolist()), left & (rank < half)
        )


def _dealt(
    num_rows: int, num_hints: int, count: int, generator: np.random.Generator
) -> Sequence[list[int]]:
    """Deal ``count`` different hints to each row from one shuffled pack of all after the other."""
    if num_hints <= count:
        return [list(range(num_hints)) for _ in range(num_rows)]
    hands: list[list[int]] = []
    hand: list[int] = []
    while len(hands) < num_rows:
        pack: list[int] = generator.permutation(num_hints).tolist()
        # A hand from two packs must not hold a hint twice: duplicates go further down.
        fitting = [hint for hint in pack if hint not in hand][: count - len(hand)]
        for hint in (*fitting, *(hint for hint in pack if hint not in fitting)):
            hand.append(hint)
            if len(hand) == count:
                hands.append(hand)
                hand = []
    return hands[:num_rows]
