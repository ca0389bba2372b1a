"""The backbone's scores of sessions' candidates, and where relevant items rank with a text."""

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
    """Sessions with the backbone's scores of their candidates.

    Attributes:
        candidates: Indices in the catalogue, those of relevant items first, the target's before
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
        index = {item_id: at for at, item_id in enumerate(recommender.item_ids)}
        rows = []
        for one in continuations:
            session = one.session
            if not session.candidates or any(item not in index for item in one.relevant):
                raise ValueError(
                    f"session {session.session_id!r} needs candidates and a target of the catalogue"
                )
            others = [item for item in session.candidates if item not in one.relevant]
            rows.append([index[item] for item in (*one.relevant, *others) if item in index])
        width = max(map(len, rows), default=1)
        candidates = torch.tensor(
            [row + [-1] * (width - len(row)) for row in rows], dtype=torch.int64
        ).reshape(len(rows), width)
        scores = recommender.scores([one.session for one in continuations])
        scores = scores.gather(1, candidates.clamp(min=0)).masked_fill(candidates < 0, -torch.inf)
        relevant = torch.tensor([len(one.relevant) for one in continuations], dtype=torch.int64)
        return cls(candidates, scores, relevant)

    def select(self, text_scores: torch.Tensor) -> torch.Tensor:
        """Select, from what is added to all items, what is added to the candidates.

        Args:
            text_scores: ``[sessions, num_items]``; see ``AugmentedRecommender.text_scores``.

        Returns:
            ``[sessions, width]``.
        """
        return text_scores.gather(1, self.candidates.clamp(min=0))

    def with_text(self, text_scores: torch.Tensor) -> torch.Tensor:
        """Scores of the candidates with what texts add to all items, ``[sessions, width]``."""
        return (self.scores + self.select(text_scores)).round(decimals=_DECIMALS)

    def log_probabilities(
        self, text_scores: torch.Tensor, temperature: float = 1.0
    ) -> torch.Tensor:
        """Mean log-probability of what is relevant among the candidates, in nats, ``[sessions]``.

        Args:
            text_scores: What is added to the scores of all items, ``[sessions, num_items]``.
            temperature: Divisor of the scores, above 0.
        """
        return self.selected_log_probabilities(self.select(text_scores), temperature)

    def selected_log_probabilities(
        self, text_scores: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        """As ``log_probabilities``, from what ``select`` returned, ``[sessions, width]``."""
        scores = (self.scores + text_scores).round(decimals=_DECIMALS)
        logs = torch.log_softmax(scores / temperature, dim=1)
        is_relevant = torch.arange(self.candidates.shape[1]) < self.relevant[:, None]
        return torch.where(is_relevant, logs, 0.0).sum(dim=1) / self.relevant

    def target_ranks(self, text_scores: torch.Tensor) -> torch.Tensor:
        """Rank of the target among the candidates, from 1; of equals, it comes last."""
        scores = self.with_text(text_scores)
        return 1 + (scores[:, 1:] >= scores[:, :1]).sum(dim=1)

    def relevant_ranks(self, text_scores: torch.Tensor) -> list[list[int]]:
        """Ranks of all that is relevant, from 1, the target's first, for each session.

        Of equals, what is not relevant comes first, and no rank is taken twice.
        """
        scores = self.with_text(text_scores)
        # Among equals, later ones of a row come first: relevant ones stand at its beginning.
        order = scores.flip(1).argsort(dim=1, descending=True, stable=True)
        ranks = torch.empty_like(order)
        ranks.scatter_(1, order, torch.arange(1, scores.shape[1] + 1).expand_as(order))
        found = ranks.flip(1).tolist()
        return [row[:count] for row, count in zip(found, self.relevant.tolist(), strict=True)]

    def rows(self, indices: torch.Tensor) -> Self:
        """Select sessions, in the order given; a session may come more than once."""
        return type(self)(self.candidates[indices], self.scores[indices], self.relevant[indices])
