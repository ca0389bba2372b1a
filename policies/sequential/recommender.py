"""A trained sequential recommender: scores items, ranks candidates, finds candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.contracts.candidate_generator import CandidateGenerator
from agentrec.evaluation.baselines import Ranker, order_by_score
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.sequential.backbones import BACKBONES, Backbone, item_scores, user_vectors
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.sequences import history_tensor, item_numbers
from agentrec.sessions import Session

# More sessions at once need more memory and are no quicker.
_SESSIONS_AT_ONCE = 256
_SCORES_AT_ONCE = 2**24

# Sums differ slightly from batch to batch; equal scores must stay equal.
_DECIMALS = 4


class EpochPoint(BaseModel):
    """The learning curve after one epoch.

    Attributes:
        loss: Mean cross-entropy of the epoch's steps in nats, dropout on.
        valid_ndcg: NDCG@10 of the validation sessions, 0 to 1; ``None`` without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: float
    valid_ndcg: float | None = None


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: BackboneKind
    config: BackboneConfig
    item_ids: tuple[str, ...] = Field(min_length=1)
    seed: int
    curve: tuple[EpochPoint, ...] = ()

    @field_validator("item_ids")
    @classmethod
    def _each_once(cls, item_ids: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(item_ids)) != len(item_ids):
            raise ValueError("an item is named twice")
        return item_ids


class SequentialRecommender(PolicyOnDisk, Ranker, CandidateGenerator):
    """A frozen backbone and the catalogue it was trained on.

    Items of a history that the catalogue lacks are ignored. A session without known items is
    scored by how often items occur in the training sessions.

    Args:
        backbone: The network; it is frozen.
        backbone_kind: Its name.
        item_ids: The catalogue, in the order of the item numbers, from 1.
        log_counts: ``log(1 + occurrences in training)`` of each item, ``[num_items]``.
        seed: Seed of its training.
        curve: The learning curve.
    """

    kind: ClassVar[str] = "sequential_recommender"

    def __init__(
        self,
        backbone: Backbone,
        backbone_kind: BackboneKind,
        item_ids: Sequence[str],
        log_counts: torch.Tensor,
        *,
        seed: int,
        curve: Sequence[EpochPoint] = (),
    ) -> None:
        self.backbone = backbone.requires_grad_(False)
        self.backbone_kind = backbone_kind
        self.item_ids = tuple(item_ids)
        self.log_counts = log_counts
        self.seed = seed
        self.curve = tuple(curve)
        self._numbers = item_numbers(self.item_ids)

    @property
    def config(self) -> BackboneConfig:
        """Its hyper-parameters."""
        return self.backbone.config

    @property
    def item_vectors(self) -> torch.Tensor:
        """Vectors of the items, ``[num_items, dim]``, in catalogue order."""
        return self.backbone.item_vectors[1:]

    @property
    def popularity(self) -> torch.Tensor:
        """Popularity that training took for granted, ``[num_items]``.

        ``scores + popularity`` are log-probabilities of the next item, up to a constant a session.
        """
        return self.config.popularity_offset * self.log_counts

    def user_vectors(self, sessions: Sequence[Session]) -> torch.Tensor:
        """Compute the vectors of users at the ends of their histories.

        Args:
            sessions: The sessions; may be none.

        Returns:
            Float32 ``[batch, dim]``; zeros for a session of which no item is known.
        """
        parts = [user_vectors(self.backbone, self._read(some)) for some in self._chunks(sessions)]
        return torch.cat([torch.zeros(0, self.config.dim), *parts])

    def scores(self, sessions: Sequence[Session]) -> torch.Tensor:
        """Compute how well every item fits every session, beyond ``popularity``.

        Args:
            sessions: The sessions; may be none. Targets and candidates are not used.

        Returns:
            Float32 ``[batch, num_items]``, in catalogue order, higher is better, finite; items of
            the history among them.
        """
        parts = [
            item_scores(self.backbone, self._read(some), self.log_counts)
            for some in self._chunks(sessions)
        ]
        return torch.cat([torch.zeros(0, len(self.item_ids)), *parts]).round(decimals=_DECIMALS)

    def rank(self, session: Session) -> tuple[str, ...]:
        """Rank the candidates by score; see ``Ranker.rank``.

        Candidates that the catalogue lacks come last. Ties are broken by a draw that is always
        the same.
        """
        return self.ordered(session, self.scores([session])[0])

    def ordered(self, session: Session, scores: torch.Tensor) -> tuple[str, ...]:
        """Order the candidates of a session by any scores, as ``rank`` does.

        Args:
            session: Its candidates are ordered.
            scores: A score an item, ``[num_items]``, in catalogue order, higher is better.
        """
        known = [each for each in session.candidates if each in self._numbers]
        fits = scores[[self._numbers[each] - 1 for each in known]].tolist()
        worst = min(fits, default=0.0) - 1
        by_item = dict.fromkeys(session.candidates, worst) | dict(zip(known, fits, strict=True))
        return order_by_score(session, by_item, seed=0)

    def generate(self, session: Session, count: int) -> list[str]:
        """Find the likeliest next items of one session; see ``generate_many``."""
        return list(self.generate_many([session], count)[0])

    def generate_many(self, sessions: Sequence[Session], count: int) -> list[tuple[str, ...]]:
        """Find the likeliest next items; see ``CandidateGenerator.generate_many``.

        Likely means fit and popularity together. Equals come in catalogue order.
        """
        if count < 1:
            raise ValueError(f"count is at least 1, not {count}")
        found = []
        for some in self._chunks(sessions):
            likelihoods = (self.scores(some) + self.popularity).round(decimals=_DECIMALS)
            orders = likelihoods.argsort(dim=1, descending=True, stable=True)
            for session, order in zip(some, orders, strict=True):
                # Enough, even if the whole history is among them.
                best = order[: count + len(session.items)].tolist()
                seen = set(session.items)
                fresh = [self.item_ids[at] for at in best if self.item_ids[at] not in seen]
                found.append(tuple(fresh[:count]))
        return found

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """See ``PolicyOnDisk``."""
        description = _Description(
            backbone=self.backbone_kind,
            config=self.config,
            item_ids=self.item_ids,
            seed=self.seed,
            curve=self.curve,
        )
        tensors = {name: one.numpy() for name, one in self.backbone.state_dict().items()}
        return description, {**tensors, "log_counts": self.log_counts.numpy()}

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """See ``PolicyOnDisk``."""
        description = stored.parse_description(_Description)
        num_items, config = len(description.item_ids), description.config
        log_counts = torch.from_numpy(stored.take("log_counts", [num_items]))
        backbone = BACKBONES[description.backbone](num_items, config, torch.Generator())
        backbone.load_state_dict(
            {
                name: torch.from_numpy(stored.take(name, list(one.shape)))
                for name, one in backbone.state_dict().items()
            }
        )
        stored.reject_unused_tensors()
        return cls(
            backbone,
            description.backbone,
            description.item_ids,
            log_counts,
            seed=description.seed,
            curve=description.curve,
        )

    def _read(self, sessions: Sequence[Session]) -> torch.Tensor:
        """Histories as item numbers, ``[sessions, length]``."""
        return history_tensor(sessions, self._numbers, self.config.max_length)

    def _chunks(self, sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
        """Yield sessions in chunks of the size to compute at once."""
        size = max(1, min(_SESSIONS_AT_ONCE, _SCORES_AT_ONCE // len(self.item_ids)))
        for start in range(0, len(sessions), size):
            yield sessions[start : start + size]
