"""What happens where somebody's data has no validation or test sessions of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agentrec.data.dataset import SPLIT_NAMES, SplitName
from agentrec.errors import InputError
from agentrec.sessions import Session


def session_file_name(split: SplitName) -> str:
    """Give the name of the file that a split lies in."""
    return f"sessions.{split}.jsonl"


def fill_missing_splits(
    given: Mapping[SplitName, list[Session]], folder: Path
) -> tuple[dict[SplitName, tuple[Session, ...]], list[str]]:
    """Cut each split that is missing from the end of the one before it.

    A cut takes 10 % of all sessions there are, at least 1, and leaves at least as many behind.
    Sessions are taken to be in time order, so that the later ones are held out.

    Args:
        given: The splits there are, none empty, each in time order; train is among them.
        folder: Where they came from, for the error.

    Returns:
        All three splits, none empty, and a note for each cut.

    Raises:
        InputError: If there are too few sessions to cut from.
    """
    tenth = max(1, sum(len(sessions) for sessions in given.values()) // 10)
    runs: list[tuple[SplitName, list[SplitName]]] = []
    for split in SPLIT_NAMES:
        if split in given:
            runs.append((split, []))
        else:
            runs[-1][1].append(split)

    splits: dict[SplitName, tuple[Session, ...]] = {}
    notes = []
    for source, missing in runs:
        sessions = tuple(given[source])
        size = min(tenth, len(sessions) // (len(missing) + 1))
        if size < 1:
            raise InputError(
                f"is missing, and {session_file_name(source)} has too few sessions "
                f"({len(sessions)}) to cut it from",
                file=folder / session_file_name(missing[0]),
            )
        end = len(sessions) - size * len(missing)
        splits[source] = sessions[:end]
        for split in missing:
            splits[split] = sessions[end : end + size]
            end += size
            notes.append(
                f"no {session_file_name(split)}: cut {size} of the {len(sessions)} sessions "
                f"from the end of {source}"
            )
    return splits, notes
