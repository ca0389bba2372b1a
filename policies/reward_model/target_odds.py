"""Where the target stands among the candidates of a session, with a text and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.sessions import Session

_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class TargetOdds:
    """Sessions with what the backbone says of their candidates.

    Attributes:
        candidates: Places in the catalogue, the target first, ``[sessions, width]``; -1 where a
            session has fewer.
        scores: The backbone's, same shape; ``-inf`` where there is no candidate.
    """

    candidates: torch.Tensor
    scores: torch.Tensor

    @classmethod
    def of(cls, recommender: SequentialRecommender, sessions: Sequence[Session]) -> Self:
        """Prepare sessions.

        Args:
            recommender: The backbone.
            sessions: With targets and candidates.

        Raises:
            ValueError: If a session has no target or no candidates, or its target is not in the
                catalogue.
        """
        place = {item_id: at for at, item_id in enumerate(recommender.item_ids)}
        rows = []
        for session in sessions:
            if session.target not in place or not session.candidates:
                raise ValueError(
                    f"session {session.session_id!r} needs candidates and a target of the catalogue"
                )
            others = [one for one in session.candidates if one != session.target and one in place]
            rows.append([place[session.target or ""], *(place[one] for one in others)])
        width = max(map(len, rows), default=1)
        candidates = torch.tensor(
            [row + [-1] * (width - len(row)) for row in rows], dtype=torch.int64
        ).reshape(len(rows), width)
        scores = recommender.scores(sessions).gather(1, candidates.clamp(min=0))
        return cls(candidates, scores.masked_fill(candidates < 0, -torch.inf))

    def with_moves(self, moves: torch.Tensor) -> torch.Tensor:
        """Scores of the candidates with what texts add, ``[sessions, width]``.

        Args:
            moves: What is added to the scores of all items, ``[sessions, num_items]``.
        """
        told = self.scores + moves.gather(1, self.candidates.clamp(min=0))
        return told.round(decimals=_DECIMALS)

    def log_probabilities(self, moves: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Log-probability of the target among the candidates, in nats, ``[sessions]``.

        Args:
            moves: What is added to the scores of all items, ``[sessions, num_items]``.
            temperature: What scores are divided by, above 0.
        """
        return torch.log_softmax(self.with_moves(moves) / temperature, dim=1)[:, 0]

    def alone(self) -> Self:
        """The same without what the backbone says."""
        nothing = torch.zeros_like(self.scores)
        return type(self)(self.candidates, nothing.masked_fill(self.candidates < 0, -torch.inf))

    def ranks(self, moves: torch.Tensor) -> torch.Tensor:
        """Place of the target among the candidates, from 1; of equals, it comes last."""
        told = self.with_moves(moves)
        return 1 + (told[:, 1:] >= told[:, :1]).sum(dim=1)

    def rows(self, places: torch.Tensor) -> Self:
        """Some of the sessions, in the order given; a session may come more than once."""
        return type(self)(self.candidates[places], self.scores[places])
