"""The cached rewards a hint policy learns from: every session under every hint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from agentrec.atomic_files import write_atomically
from agentrec.errors import InputError

_FORMAT = "agentrec-reward-table-1"


class _Header(BaseModel):
    """What the file's header holds beside the numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    session_ids: tuple[str, ...]
    hint_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RewardTable:
    """NDCG@10 of each session under "no hint" and under each hint.

    Since every answer is paid for once and kept here, training a policy is offline and free.
    A session with a failed model call has no row: a failure is not an NDCG of 0.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation: the reward.
    Differs: the paper's code asks the model again at each training step; column 0 is "no hint"
    always, wherever the paper's shuffled knowledge base had put it.

    Attributes:
        session_ids: One a row, unique.
        hint_ids: One for each of the columns ``1 .. num_hints``, unique.
        ndcg: Float32 NDCG@10, 0 to 1, shape ``[num_sessions, 1 + num_hints]``, read-only;
            column 0 is "no hint".

    Raises:
        ValueError: A shape, an id or a value is not as above.
    """

    session_ids: tuple[str, ...]
    hint_ids: tuple[str, ...]
    ndcg: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, ids in (("session_ids", self.session_ids), ("hint_ids", self.hint_ids)):
            if len(set(ids)) != len(ids):
                raise ValueError(f"{name} name one id twice")
            if not all(ids):
                raise ValueError(f"{name} hold an empty id")
        ndcg = np.array(self.ndcg, dtype=np.float32)
        expected = (len(self.session_ids), 1 + len(self.hint_ids))
        if ndcg.shape != expected:
            raise ValueError(
                f"ndcg has shape {list(ndcg.shape)}; "
                f"{expected[0]} sessions and no hint + {expected[1] - 1} hints "
                f"need {list(expected)}"
            )
        if not bool(np.all((ndcg >= 0) & (ndcg <= 1))):
            raise ValueError(
                "ndcg must lie in 0 to 1 everywhere; leave sessions with a failed call out"
            )
        ndcg.flags.writeable = False
        object.__setattr__(self, "ndcg", ndcg)

    @property
    def gains(self) -> npt.NDArray[np.float32]:
        """The reward: NDCG@10 with the option minus without a hint, -1 to 1.

        Shape ``[num_sessions, 1 + num_hints]``; column 0 is 0.
        """
        gains: npt.NDArray[np.float32] = self.ndcg - self.ndcg[:, :1]
        return gains

    def with_sessions(self, session_ids: Sequence[str]) -> RewardTable:
        """The rows of ``session_ids``, in that order.

        Raises:
            ValueError: The table has no row for one of them.
        """
        place = {session_id: row for row, session_id in enumerate(self.session_ids)}
        rows = _places(place, session_ids, "session")
        return RewardTable(tuple(session_ids), self.hint_ids, self.ndcg[rows])

    def with_hints(self, hint_ids: Sequence[str]) -> RewardTable:
        """No hint and the columns of ``hint_ids``, in that order.

        Raises:
            ValueError: The table has no column for one of them.
        """
        place = {hint_id: 1 + column for column, hint_id in enumerate(self.hint_ids)}
        columns = [0, *_places(place, hint_ids, "hint")]
        return RewardTable(self.session_ids, tuple(hint_ids), self.ndcg[:, columns])

    def shuffled_across_sessions(self, seed: int) -> RewardTable:
        """Give each session another session's row, its hints in an order of its own.

        This is the noise control. Rows move whole between sessions, so that no state goes with
        any reward; within each row the hints' rewards change places, so that no hint is better
        than another on average. "No hint" stays where it is. A policy trained on the result has
        nothing to learn but how hints do on the whole.

        Args:
            seed: Of the permutations.
        """
        generator = np.random.default_rng(seed)
        moved = self.ndcg[generator.permutation(len(self.session_ids))]
        mixed = np.concatenate([moved[:, :1], generator.permuted(moved[:, 1:], axis=1)], axis=1)
        return RewardTable(self.session_ids, self.hint_ids, mixed)

    def save(self, path: Path) -> None:
        """Write the table to ``path``, a safetensors file, replacing it in one step."""
        header = _Header(format=_FORMAT, session_ids=self.session_ids, hint_ids=self.hint_ids)
        content = save({"ndcg": self.ndcg}, metadata={"table": header.model_dump_json()})
        write_atomically(path, content)

    @staticmethod
    def load(path: Path) -> RewardTable:
        """Read a table that ``save`` wrote.

        Raises:
            InputError: There is no such file, or it is not a reward table.
        """
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                ndcg = file.get_tensor("ndcg")
        except FileNotFoundError as error:
            raise InputError("there is no such file", file=path) from error
        except (SafetensorError, OSError) as error:
            raise InputError(f"is not a whole reward table ({error})", file=path) from error
        try:
            header = _Header.model_validate(json.loads(metadata.get("table", "null")))
        except (ValidationError, json.JSONDecodeError) as error:
            raise InputError("its header is not that of a reward table", file=path) from error
        if header.format != _FORMAT:
            raise InputError(f"its format is {header.format!r}; {_FORMAT!r} can be read", file=path)
        if ndcg.dtype != np.float32:
            raise InputError(f"ndcg is {ndcg.dtype}; it must be float32", file=path, field="ndcg")
        try:
            return RewardTable(header.session_ids, header.hint_ids, ndcg)
        except ValueError as error:
            raise InputError(str(error), file=path) from error


def _places(place: dict[str, int], wanted: Sequence[str], noun: str) -> list[int]:
    """Positions of ``wanted``, or a ValueError that names the first one missing."""
    for one in wanted:
        if one not in place:
            raise ValueError(f"the reward table has no {noun} {one!r}")
    return [place[one] for one in wanted]
