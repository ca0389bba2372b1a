"""A sequential recommender whose scores an adapter changes by what a text says of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.sequential.backbones import drop, seeded_linear
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.standardiser import Standardiser
from agentrec.sessions import Session

Floats = npt.NDArray[np.float32]

_BACKBONE = "backbone."
_ADAPTER = "adapter."
_CHUNK = 512
_DECIMALS = 4


class MLPAdapter(nn.Module):
    """Knowledge adapter with one hidden layer: from a text to what it wants of items.

    Source: KAR (arXiv 2306.10933), section 4.3.
    Differs: the items' features are used as they are, without a second adapter; and a text adds to
    the backbone's scores instead of becoming one more feature, so that without a text the
    recommender is the backbone alone, and a few hundred texts are enough to learn from.

    Args:
        inputs: Width of a text.
        outputs: Width of what comes out.
        config: The hyper-parameters.
        generator: Source of the initial parameters.
    """

    def __init__(
        self, inputs: int, outputs: int, config: RewardModelConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.hidden = seeded_linear(inputs, config.hidden, generator)
        self.out = seeded_linear(config.hidden, outputs, generator)
        # At first a text wants nothing: training starts from the backbone.
        nn.init.zeros_(self.out.weight)

    def forward(self, texts: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """Compute what texts want of items.

        Args:
            texts: ``[batch, text_dim]``.
            dropout: Source of the dropout; ``None`` for none.

        Returns:
            ``[batch, outputs]``.
        """
        inputs = drop(texts, self.dropout, dropout)
        wanted: torch.Tensor = self.out(torch.relu(self.hidden(inputs)))
        return wanted


class MixtureAdapter(nn.Module):
    """Several expert adapters, weighted by the text; see ``MLPAdapter``."""

    def __init__(
        self, inputs: int, outputs: int, config: RewardModelConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.experts = nn.ModuleList(
            MLPAdapter(inputs, outputs, config.model_copy(update={"dropout": 0.0}), generator)
            for _ in range(config.experts)
        )
        self.gate = seeded_linear(inputs, config.experts, generator)

    def forward(self, texts: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """Compute what texts want of items; see ``MLPAdapter.forward``."""
        inputs = drop(texts, self.dropout, dropout)
        weights = torch.softmax(self.gate(inputs), dim=-1)
        wanted = torch.stack([expert(inputs) for expert in self.experts], dim=-1)
        return (wanted * weights[..., None, :]).sum(dim=-1)


def make_adapter(
    inputs: int, outputs: int, config: RewardModelConfig, generator: torch.Generator
) -> MLPAdapter | MixtureAdapter:
    """Make the adapter that the configuration names."""
    kind = MLPAdapter if config.adapter == "mlp" else MixtureAdapter
    return kind(inputs, outputs, config, generator)


class RewardEpoch(BaseModel):
    """The learning curve after one epoch.

    Attributes:
        loss: Mean cross-entropy of the epoch's steps in nats, dropout on.
        valid_log_probability: Mean log-probability of the target among the candidates of the
            validation sessions, in nats, with the best strength of the texts; ``None`` without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: float
    valid_log_probability: float | None = None


class Fusion(BaseModel):
    """How a text's scores and the backbone's are combined.

    Attributes:
        strength: Factor of a text's scores, at least 0.
        temperature: Divisor that turns all scores into log-probabilities, above 0; rankings do not
            depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strength: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    config: RewardModelConfig
    fusion: Fusion
    backbone: dict[str, Any]
    text_dim: int = Field(ge=1)
    item_dim: int = Field(ge=1)
    text_features: int = Field(ge=1)
    seed: int
    curve: tuple[RewardEpoch, ...] = ()


class AugmentedRecommender(PolicyOnDisk):
    """A frozen backbone, and an adapter that adds what a text wants of items.

    An item's score is the backbone's plus, times the strength, how well the item has what the text
    wants. Without a text it is the backbone's.

    Source: RLRF4Rec, knowledge-augmented recommender.

    Args:
        recommender: The backbone.
        adapter: From a text's features to what it wants.
        texts: From a text's vector to its features.
        item_features: Features of the items, ``[num_items, item_dim]``.
        fusion: How both scores are combined.
        config: What it was trained with.
        seed: Seed of its training.
        curve: The learning curve.
    """

    kind: ClassVar[str] = "augmented_recommender"

    def __init__(
        self,
        recommender: SequentialRecommender,
        adapter: MLPAdapter | MixtureAdapter,
        texts: Standardiser,
        item_features: torch.Tensor,
        *,
        fusion: Fusion,
        config: RewardModelConfig,
        seed: int,
        curve: Sequence[RewardEpoch] = (),
    ) -> None:
        self.recommender = recommender
        self.fusion = fusion
        self.adapter = adapter.requires_grad_(False)
        self.texts = texts
        self.item_features = item_features
        self.config = config
        self.seed = seed
        self.curve = tuple(curve)

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The catalogue."""
        return self.recommender.item_ids

    @torch.no_grad()
    def text_scores(self, vectors: Floats) -> torch.Tensor:
        """Compute what texts add to the scores of all items.

        Args:
            vectors: The texts' vectors, ``[batch, text_dim]``; may be none.

        Returns:
            Float32 ``[batch, num_items]``, in catalogue order; 0 for a text whose vector is all
            zeros, the empty text.
        """
        features = torch.from_numpy(self.texts(vectors))
        said = torch.from_numpy(np.abs(vectors).max(axis=1, initial=0) > 0)
        parts = [torch.zeros(0, len(self.item_ids))]
        for start in range(0, len(features), _CHUNK):
            rows = slice(start, start + _CHUNK)
            wanted = self.adapter(features[rows]) * said[rows, None]
            parts.append(self.fusion.strength * (wanted @ self.item_features.T))
        return torch.cat(parts)

    def scores(self, sessions: Sequence[Session], vectors: Floats) -> torch.Tensor:
        """Compute how well every item fits every session; see ``SequentialRecommender.scores``.

        Args:
            sessions: The sessions, one a text; may be none.
            vectors: The texts' vectors, ``[batch, text_dim]``; zeros for no text.

        Returns:
            Float32 ``[batch, num_items]``, in catalogue order, higher is better.
        """
        scores = self.recommender.scores(sessions) + self.text_scores(vectors)
        return scores.round(decimals=_DECIMALS)

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """See ``PolicyOnDisk``; the backbone is part of it."""
        inner, of_backbone = self.recommender.description_and_tensors()
        description = _Description(
            config=self.config,
            fusion=self.fusion,
            backbone=inner.model_dump(mode="json"),
            text_dim=self.texts.raw_dim,
            item_dim=self.item_features.shape[1],
            text_features=self.texts.num_features,
            seed=self.seed,
            curve=self.curve,
        )
        adapter = {name: one.numpy() for name, one in self.adapter.state_dict().items()}
        return description, {
            **{_BACKBONE + name: values for name, values in of_backbone.items()},
            **{_ADAPTER + name: values for name, values in adapter.items()},
            **self.texts.tensors("texts"),
            "item_features": self.item_features.numpy(),
        }

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """See ``PolicyOnDisk``."""
        description = stored.parse_description(_Description)
        own = {name for name in stored.tensors if name.startswith(_BACKBONE)}
        tensors = {name.removeprefix(_BACKBONE): stored.tensors.pop(name) for name in own}
        recommender = SequentialRecommender.from_stored(
            StoredPolicy(
                SequentialRecommender.kind,
                description.backbone,
                tensors,
                stored.description_file,
                stored.weights_file,
            )
        )
        config, num_items = description.config, len(recommender.item_ids)
        features, item_dim = description.text_features, description.item_dim
        texts = Standardiser.from_stored(stored, "texts", description.text_dim, features)
        item_features = torch.from_numpy(stored.take("item_features", [num_items, item_dim]))
        adapter = make_adapter(features, item_dim, config, torch.Generator())
        adapter.load_state_dict(
            {
                name: torch.from_numpy(stored.take(_ADAPTER + name, list(one.shape)))
                for name, one in adapter.state_dict().items()
            }
        )
        stored.reject_unused_tensors()
        return cls(
            recommender,
            adapter,
            texts,
            item_features,
            fusion=description.fusion,
            config=config,
            seed=description.seed,
            curve=description.curve,
        )
