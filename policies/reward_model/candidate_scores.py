"""Where relevant items stand among the candidates of a session, with a text and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from agentrec.continuations import Continuation
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.sessions import Session

_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class CandidateScores:
    """Sessions with what the backbone says of their candidates.

    Attributes:
        candidates: Places in the catalogue, those of relevant items first, the target's before
            all, ``[sessions, width]``; -1 where a session has fewer.
        scores: The backbone's, same shape; ``-inf`` where there is no candidate.
        relevant: How many candidates are relevant, at least 1, ``[sessions]``.
    """

    candidates: torch.Tensor
    scores: torch.Tensor
    relevant: torch.Tensor

    @classmethod
    def of(cls, recommender: SequentialRecommender, sessions: Sequence[Session]) -> Self:
        """Prepare sessions of which the target alone is relevant.

        Args:
            recommender: The backbone.
            sessions: With targets and candidates.

        Raises:
            ValueError: If a session has no target or no candidates, or its target is not in the
                catalogue.
        """
        return cls.of_continuations(
            recommender, [Continuation(one, (one.target or "",)) for one in sessions]
        )

    @classmethod
    def of_continuations(
        cls, recommender: SequentialRecommender, continuations: Sequence[Continuation]
    ) -> Self:
        """Prepare sessions of which several items may be relevant.

        Raises:
            ValueError: If a session has no candidates, or what is relevant is not in the
                catalogue.
        """
        place = {item_id: at for at, item_id in enumerate(recommender.item_ids)}
        rows = []
        for one in continuations:
            session = one.session
            if not session.candidates or any(item not in place for item in one.relevant):
                raise ValueError(
                    f"session {session.session_id!r} needs candidates and a target of the catalogue"
                )
            others = [item for item in session.candidates if item not in one.relevant]
            rows.append([place[item] for item in (*one.relevant, *others) if item in place])
        width = max(map(len, rows), default=1)
        candidates = torch.tensor(
            [row + [-1] * (width - len(row)) for row in rows], dtype=torch.int64
        ).reshape(len(rows), width)
        scores = recommender.scores([one.session for one in continuations])
        scores = scores.gather(1, candidates.clamp(min=0)).masked_fill(candidates < 0, -torch.inf)
        relevant = torch.tensor([len(one.relevant) for one in continuations], dtype=torch.int64)
        return cls(candidates, scores, relevant)

    def with_text(self, moves: torch.Tensor) -> torch.Tensor:
        """Scores of the candidates with what texts add, ``[sessions, width]``.

        Args:
            moves: What is added to the scores of all items, ``[sessions, num_items]``.
        """
        told = self.scores + self.of_candidates(moves)
        return told.round(decimals=_DECIMALS)

    def log_probabilities(self, moves: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Mean log-probability of what is relevant among the candidates, in nats, ``[sessions]``.

        Args:
            moves: What is added to the scores of all items, ``[sessions, num_items]``.
            temperature: What scores are divided by, above 0.
        """
        return self.log_probabilities_with(self.of_candidates(moves), temperature)

    def of_candidates(self, moves: torch.Tensor) -> torch.Tensor:
        """Of what is added to all items, what is added to the candidates, ``[sessions, width]``."""
        return moves.gather(1, self.candidates.clamp(min=0))

    def log_probabilities_with(self, moves: torch.Tensor, temperature: float) -> torch.Tensor:
        """As ``log_probabilities``, of what is added to the candidates, ``[sessions, width]``."""
        told = (self.scores + moves).round(decimals=_DECIMALS)
        logs = torch.log_softmax(told / temperature, dim=1)
        return torch.where(self._is_relevant, logs, 0.0).sum(dim=1) / self.relevant

    def ranks(self, moves: torch.Tensor) -> torch.Tensor:
        """Place of the target among the candidates, from 1; of equals, it comes last."""
        told = self.with_text(moves)
        return 1 + (told[:, 1:] >= told[:, :1]).sum(dim=1)

    def places(self, moves: torch.Tensor) -> list[list[int]]:
        """Places of all that is relevant, from 1, the target's first, for each session.

        Of equals, what is not relevant comes first, and no place is taken twice.
        """
        told = self.with_text(moves)
        # Among equals, later ones of a row come first: relevant ones stand at its beginning.
        order = told.flip(1).argsort(dim=1, descending=True, stable=True)
        place = torch.empty_like(order)
        place.scatter_(1, order, torch.arange(1, told.shape[1] + 1).expand_as(order))
        found = place.flip(1).tolist()
        return [row[:count] for row, count in zip(found, self.relevant.tolist(), strict=True)]

    def rows(self, places: torch.Tensor) -> Self:
        """Some of the sessions, in the order given; a session may come more than once."""
        return type(self)(self.candidates[places], self.scores[places], self.relevant[places])

    @property
    def _is_relevant(self) -> torch.Tensor:
        return torch.arange(self.candidates.shape[1]) < self.relevant[:, None]
