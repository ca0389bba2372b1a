"""The measured rewards that a hint policy learns from: sessions with and without hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from agentrec.atomic_files import write_atomically
from agentrec.errors import InputError
from agentrec.hint_offers import HintOffer, RewardedOffer
from agentrec.policies.rewards.reward_table_file import LARGEST_DRAW, read_cells, table_file

RewardShape = Literal["ndcg", "reciprocal_rank", "hit", "sign"]

_SAME_RANK = 1e-3


def shaped_rewards(
    with_option: npt.NDArray[np.float32],
    without: npt.NDArray[np.float32],
    shape: RewardShape = "ndcg",
) -> npt.NDArray[np.float32]:
    """Turn NDCG@10 with and without a hint into rewards.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation: the difference of NDCG@10.
    Differs: the paper has the shape ``ndcg`` only.

    Args:
        with_option: NDCG@10 under options, 0 to 1, any shape; NaN where it was not measured.
        without: NDCG@10 of the same sessions under no hint, 0 to 1, of a shape that broadcasts.
        shape: See the module.

    Returns:
        Float32 rewards, -1 to 1, NaN where either NDCG is.

    Raises:
        ValueError: If ``shape`` is not a known one.
    """
    known = get_args(RewardShape)
    if shape not in known:
        raise ValueError(f"unknown shape {shape!r}; it is one of {', '.join(known)}")
    if shape == "reciprocal_rank":
        return _float32(reciprocal_ranks(with_option) - reciprocal_ranks(without))
    if shape == "hit":
        return _float32(_hits(with_option) - _hits(without))
    difference = with_option - without
    return _float32(np.sign(difference) if shape == "sign" else difference)


def reciprocal_ranks(ndcg: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``1 / rank`` of the targets behind NDCG@10 values, 0 where they are not in the list.

    With one target ``NDCG = 1 / log2(rank + 1)``, so the rank is known exactly. A mean of several
    NDCG values has the reciprocal of the fractional rank that would have brought it.

    Args:
        ndcg: 0 to 1, any shape; NaN stays NaN.

    >>> reciprocal_ranks(np.array([1, 0.5, 0], dtype=np.float32)).tolist()
    [1.0, 0.3333333333333333, 0.0]
    """
    # One ranking has at least the tenth rank's .289, or 0; the floor keeps 2 ** (1 / x) finite.
    ranks = 2 ** (1 / np.maximum(ndcg.astype(np.float64), 0.01)) - 1
    nearest = np.rint(ranks)
    ranks = np.where(np.abs(ranks - nearest) < _SAME_RANK, nearest, ranks)
    return np.where(ndcg > 0, 1 / ranks, ndcg.astype(np.float64))


def _hits(ndcg: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """1 where the target is in the list, 0 where it is not, NaN where it was not measured."""
    return np.where(np.isnan(ndcg), np.nan, (ndcg > 0).astype(np.float64))


def _float32(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


Index = TypeVar("Index")


@dataclass(frozen=True, eq=False)
class RewardTable:
    """NDCG@10 of sessions under "no hint" and under hints, as far as it was measured.

    Every answer is paid for once and kept here, so training a policy is offline and free.
    A session with a failed model call has no row: a failure is not an NDCG of 0.

    A session may come several times, each time with another draw of the negatives that its
    target is ranked against. What was measured need not be the same in every row.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation: the reward.
    Differs: the paper's code asks the model again at each training step; column 0 is "no hint"
    always, wherever the paper's shuffled knowledge base had put it.

    Attributes:
        session_ids: One a row.
        hint_ids: One for each of the columns ``1 .. num_hints``, unique.
        ndcg: Float32 NDCG@10, 0 to 1, shape ``[num_rows, 1 + num_hints]``, read-only; NaN where
            it was not measured. Column 0 is "no hint" and measured in every row.
        draws: Which draw of negatives a row's candidates are, one a row, from 0; left out, 0 for
            all. No two rows have the same session and draw.

    Raises:
        ValueError: A shape, an id or a value is not as above.
    """

    session_ids: tuple[str, ...]
    hint_ids: tuple[str, ...]
    ndcg: npt.NDArray[np.float32]
    draws: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.draws:
            object.__setattr__(self, "draws", (0,) * len(self.session_ids))
        if len(self.draws) != len(self.session_ids):
            raise ValueError(f"{len(self.draws)} draws for {len(self.session_ids)} rows")
        if any(not 0 <= draw <= LARGEST_DRAW for draw in self.draws):
            raise ValueError(f"draws are whole numbers of 0 to {LARGEST_DRAW}")
        if len(set(zip(self.session_ids, self.draws, strict=True))) != len(self.draws):
            raise ValueError("session_ids name one id twice for the same draw")
        if len(set(self.hint_ids)) != len(self.hint_ids):
            raise ValueError("hint_ids name one id twice")
        if not all(self.session_ids) or not all(self.hint_ids):
            raise ValueError("session_ids or hint_ids hold an empty id")
        ndcg = np.array(self.ndcg, dtype=np.float32)
        expected = (len(self.session_ids), 1 + len(self.hint_ids))
        if ndcg.shape != expected:
            raise ValueError(
                f"ndcg has shape {list(ndcg.shape)}; "
                f"{expected[0]} sessions and no hint + {expected[1] - 1} hints "
                f"need {list(expected)}"
            )
        if not bool(np.all(np.isnan(ndcg) | ((ndcg >= 0) & (ndcg <= 1)))):
            raise ValueError("ndcg must lie in 0 to 1 wherever it was measured")
        if bool(np.isnan(ndcg[:, 0]).any()):
            raise ValueError(
                "ndcg under no hint must be measured in every row; leave sessions with a failed "
                "call out"
            )
        ndcg.flags.writeable = False
        object.__setattr__(self, "ndcg", ndcg)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.session_ids)

    @property
    def gains(self) -> npt.NDArray[np.float32]:
        """The reward: NDCG@10 with the option minus without a hint, -1 to 1.

        Shape ``[num_rows, 1 + num_hints]``; column 0 is 0; NaN where it was not measured.
        """
        return shaped_rewards(self.ndcg, self.ndcg[:, :1])

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which options were measured, shape ``[num_rows, 1 + num_hints]``."""
        known: npt.NDArray[np.bool_] = ~np.isnan(self.ndcg)
        return known

    @property
    def share_measured(self) -> float:
        """Measured share of all rows under all options, no hint included, 0 to 1; 1 if empty."""
        return float(self.measured.mean()) if self.ndcg.size else 1.0

    def same_as(self, other: RewardTable) -> bool:
        """Return whether both have the same rows, columns and values, in the same order."""
        return (
            (self.session_ids, self.hint_ids, self.draws)
            == (other.session_ids, other.hint_ids, other.draws)
        ) and np.array_equal(self.ndcg, other.ndcg, equal_nan=True)

    def rewarded(self, offer: HintOffer, shape: RewardShape = "ndcg") -> RewardedOffer:
        """Look up the rewards of an offer to the table's sessions.

        Args:
            offer: To the sessions of the rows, in their order; its hints need not be the table's.
            shape: See ``reward_shaping``.

        Returns:
            Rewards, NaN for a hint that the table lacks or that was not measured in the row.

        Raises:
            ValueError: If the offer is to fewer or more sessions than the table has rows.
        """
        if len(offer) != len(self):
            raise ValueError(f"the offer is to {len(offer)} sessions; the table has {len(self)}")
        unmeasured = self.ndcg.shape[1]
        unknown = np.full((len(self), 1), np.nan, dtype=np.float32)
        rewards = np.concatenate(
            [shaped_rewards(self.ndcg, self.ndcg[:, :1], shape), unknown], axis=1
        )
        column = {hint_id: 1 + at for at, hint_id in enumerate(self.hint_ids)}
        # The last entry is what NO_CANDIDATE, -1, finds.
        columns = np.array([*(column.get(one, unmeasured) for one in offer.hint_ids), unmeasured])
        wanted = columns[offer.candidates]
        none = np.zeros((len(self), 1), dtype=np.float32)
        found = np.take_along_axis(rewards, wanted, axis=1)
        return RewardedOffer(offer, np.concatenate([none, found], axis=1))

    def with_sessions(self, session_ids: Sequence[str]) -> RewardTable:
        """Select the rows of sessions, in that order; rows of one session keep their order.

        Raises:
            ValueError: The table has no row for one of them.
        """
        rows: dict[str, list[int]] = {}
        for row, session_id in enumerate(self.session_ids):
            rows.setdefault(session_id, []).append(row)
        return self._rows([row for own in _found(rows, session_ids, "session") for row in own])

    def with_hints(self, hint_ids: Sequence[str]) -> RewardTable:
        """Select no hint and the columns of ``hint_ids``, in that order.

        Raises:
            ValueError: The table has no column for one of them.
        """
        columns_of = {hint_id: 1 + at for at, hint_id in enumerate(self.hint_ids)}
        columns = [0, *_found(columns_of, hint_ids, "hint")]
        return RewardTable(self.session_ids, tuple(hint_ids), self.ndcg[:, columns], self.draws)

    def shuffled_across_sessions(self, seed: int) -> RewardTable:
        """Give each session another session's row, its hints in an order of its own.

        This is the noise control. Rows move whole between sessions, so that no state goes with
        any reward; within each row the hints' rewards are permuted, so that no hint is better than
        another on average. Unmeasured cells move like rewards: which hints were worth measuring
        would be informative too. "No hint" stays where it is. A policy trained on the result can
        only learn how hints do on the whole.

        Args:
            seed: Of the permutations.
        """
        generator = np.random.default_rng(seed)
        moved = self.ndcg[generator.permutation(len(self))]
        mixed = np.concatenate([moved[:, :1], generator.permuted(moved[:, 1:], axis=1)], axis=1)
        return RewardTable(self.session_ids, self.hint_ids, mixed, self.draws)

    def save(self, path: Path) -> None:
        """Write the table to ``path``, a Parquet file, replacing it in one step.

        The file has a line for each measured option; see ``reward_table_file``.
        """
        content = table_file(self.session_ids, self.draws, self.hint_ids, self.ndcg)
        write_atomically(path, content)

    @staticmethod
    def load(path: Path) -> RewardTable:
        """Read a table that ``save`` wrote.

        Raises:
            InputError: There is no such file, or it is not a reward table.
        """
        cells = read_cells(path)
        try:
            return RewardTable(cells.session_ids, cells.hint_ids, cells.ndcg, cells.draws)
        except ValueError as error:
            raise InputError(str(error), file=path) from error

    def _rows(self, rows: Sequence[int]) -> RewardTable:
        return RewardTable(
            tuple(self.session_ids[row] for row in rows),
            self.hint_ids,
            self.ndcg[np.array(rows, dtype=np.int64)],
            tuple(self.draws[row] for row in rows),
        )


def _found(index: dict[str, Index], wanted: Sequence[str], noun: str) -> list[Index]:
    """Look ``wanted`` up; a ValueError names the first one missing."""
    for one in wanted:
        if one not in index:
            raise ValueError(f"the reward table has no {noun} {one!r}")
    return [index[one] for one in wanted]
