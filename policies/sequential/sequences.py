"""Sessions as the item numbers that a backbone reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from agentrec.policies.sequential.backbones import PADDING
from agentrec.policies.sequential.config import Repeats
from agentrec.sessions import Session

REPEATED_RUN = 4
"""A run of this many items that an earlier session has too is taken for the same steps again.

Shorter runs are shared by chance: in MovieLens-100K, whose sessions do not overlap, 775 of 12,545
runs of two items occurred before and 20 of 11,150 of three, but none of 9,755 of four."""


@dataclass(frozen=True, eq=False)
class TrainingSequences:
    """Histories with, at every position, what came next.

    Attributes:
        items: Item numbers, ``[sequences, length]``, left-padded with 0.
        targets: The item after each position, same shape; 0 where nothing is to be learnt: at
            padding, and at a step that is left out.
    """

    items: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.items)

    def item_counts(self, num_items: int) -> torch.Tensor:
        """Count how often each item came next, float32 ``[num_items]``, catalogue order."""
        return torch.bincount(self.targets.flatten(), minlength=1 + num_items)[1:].float()


def item_numbers(item_ids: Iterable[str]) -> Mapping[str, int]:
    """Number the items from 1, in the order of the catalogue; 0 is padding."""
    return {item_id: number for number, item_id in enumerate(item_ids, start=1)}


def left_padded(rows: Sequence[Sequence[int]], max_length: int) -> torch.Tensor:
    """Put rows of different lengths into one tensor.

    Args:
        rows: Item numbers, oldest first; a row may be empty.
        max_length: Longest result, at least 1; of a longer row the most recent items stay.

    Returns:
        Shape ``[rows, length]``, at least one wide, as long as the longest row needs.
    """
    kept = [row[-max_length:] for row in rows]
    length = max((len(row) for row in kept), default=1) or 1
    return torch.tensor(
        [[PADDING] * (length - len(row)) + list(row) for row in kept], dtype=torch.int64
    ).reshape(len(kept), length)


def history_tensor(
    sessions: Iterable[Session], numbers: Mapping[str, int], max_length: int
) -> torch.Tensor:
    """Turn sessions into what a backbone reads: their histories, never their targets.

    Args:
        sessions: The sessions. Items without a number are ignored.
        numbers: From ``item_numbers``.
        max_length: Most items to read, the most recent ones, at least 1.

    Returns:
        Shape ``[sessions, length]``, left-padded with 0; a row of zeros for a session of which
        no item is known.
    """
    return left_padded(
        [[numbers[item] for item in session.items if item in numbers] for session in sessions],
        max_length,
    )


def whole_sequence(session: Session, numbers: Mapping[str, int]) -> list[int]:
    """Return a session's history with its target, where it has one, at the end.

    Raises:
        ValueError: If the session names an item without a number.
    """
    items = session.items if session.target is None else (*session.items, session.target)
    if unknown := [item for item in items if item not in numbers]:
        raise ValueError(
            f"session {session.session_id!r} names {unknown[0]!r}, which is not in the catalogue"
        )
    return [numbers[item] for item in items]


def training_sequences(
    sessions: Iterable[Session],
    numbers: Mapping[str, int],
    max_length: int,
    repeats: Repeats = "each",
) -> TrainingSequences:
    """Make every step from one item to the next an example.

    A session teaches at every position of its history, and at its end the target. A sequence
    longer than ``max_length`` is cut into pieces, each step in one of them.

    Args:
        sessions: In any order; of two that overlap, the first counts.
        numbers: From ``item_numbers``.
        max_length: Longest history to read, at least 1.
        repeats: ``once``: a step is left out of later sessions if the run of ``REPEATED_RUN``
            items in which it stands was in an earlier one; it still serves as history of what
            comes after it. ``each``: a step counts as often as it occurs.

    Returns:
        The sequences, without those in which nothing is left to learn.

    Raises:
        ValueError: If a session names an item without a number.
    """
    known: set[tuple[int, ...]] = set()
    histories: list[list[int]] = []
    targets: list[list[int]] = []
    for session in sessions:
        sequence = whole_sequence(session, numbers)
        next_items = sequence[1:]
        if repeats == "once":
            runs = _runs(sequence)
            next_items = [
                PADDING if run in known else item
                for run, item in zip(runs, next_items, strict=True)
            ]
            known.update(run for run in runs if len(run) == REPEATED_RUN)
        # From the end on, so that the last step, the one used in ranking, has a long history.
        for stop in range(len(next_items), 0, -max_length):
            start = max(0, stop - max_length)
            if any(next_items[start:stop]):
                histories.append(sequence[start:stop])
                targets.append(next_items[start:stop])
    return TrainingSequences(left_padded(histories, max_length), left_padded(targets, max_length))


def _runs(sequence: Sequence[int]) -> list[tuple[int, ...]]:
    """For each step, the run of items that it is part of."""
    starts = (max(0, step - REPEATED_RUN + 1) for step in range(1, len(sequence)))
    return [tuple(sequence[start : start + REPEATED_RUN]) for start in starts]
