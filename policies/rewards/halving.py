"""Which hints of which session to pay for next, where all of them would cost too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentrec.policies.rewards.gain_surrogate import predicted_gains
from agentrec.policies.rewards.reward_table import RewardTable

Cell = tuple[int, int]
"""A row of a reward table and one of its columns ``1 .. num_hints``."""


@dataclass(frozen=True, eq=False)
class HalvingRound:
    """What one round measures.

    Attributes:
        number: Of the round, from 0.
        cells: What to measure, none of it measured before, in the order of rows.
        survivors: Which hints a session is still tried with, bool, shape
            ``[num_rows, num_hints]``.
    """

    number: int
    cells: tuple[Cell, ...]
    survivors: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SuccessiveHalving:
    """A plan that measures few hints a session, and mostly those that do it good.

    The first round tries a few hints on each session, all of them equally often. Then what all
    sessions have shown of all hints predicts what each session's other hints would bring. The
    better half goes on, the best of it are measured, and so forth. With the default rounds a
    session takes 1 + 9 calls, whatever the number of hints.

    A cell is chosen by what was measured in other cells, never by its own value, so a row is no
    luckier for it. Plans follow from the seed and what was measured: a run that was cut off asks
    the same again, which its journal answers.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization" (arXiv 1502.07943): successive halving.
    Differs: asking for the same answer again would tell nothing new, so a round does not repeat
    its survivors; it predicts them from other sessions' answers.

    Attributes:
        rounds: How many hints each round measures for a session, each at least 1. A session has
            all hints measured where there are no more than their sum.
        seed: Of which session starts with which hints.

    Raises:
        ValueError: If there is no round, or one measures nothing.
    """

    rounds: tuple[int, ...] = (4, 3, 2)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.rounds or min(self.rounds) < 1:
            raise ValueError(f"rounds {list(self.rounds)} must each measure at least 1 hint")

    def calls_per_row(self, num_hints: int) -> int:
        """How many options of each row are measured by the end, no hint included."""
        return 1 + min(sum(self.rounds), num_hints)

    def first_round(self, num_rows: int, num_hints: int) -> HalvingRound:
        """Try every hint equally often, give or take one, each time beside others.

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
        # What later rounds are to measure has to survive, so that the number of calls is known.
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
        # A hand that two packs fill holds no hint twice: what it has goes further down.
        fitting = [hint for hint in pack if hint not in hand][: count - len(hand)]
        for hint in (*fitting, *(hint for hint in pack if hint not in fitting)):
            hand.append(hint)
            if len(hand) == count:
                hands.append(hand)
                hand = []
    return hands[:num_rows]
