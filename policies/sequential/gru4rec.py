"""A user as the state of a recurrent network."""

from __future__ import annotations

import math

import torch
from torch import nn

from agentrec.policies.sequential.backbone import Backbone
from agentrec.policies.sequential.config import BackboneConfig
from agentrec.policies.sequential.seeded_layers import drop, seeded_gru, seeded_linear


class GRU4Rec(Backbone):
    """Gated recurrent units over the history.

    Source: GRU4Rec (arXiv 1511.06939), section 3.
    Differs: the same vectors stand for an item where it is read and where it is guessed;
    cross-entropy over the whole catalogue instead of a pairwise loss over the other items of a
    mini-batch; sessions are padded, not strung together.

    Args:
        num_items: See ``Backbone``.
        config: See ``Backbone``.
        generator: See ``Backbone``.
    """

    def __init__(self, num_items: int, config: BackboneConfig, generator: torch.Generator) -> None:
        super().__init__(num_items, config, generator)
        self.layers = nn.ModuleList(seeded_gru(config.dim, generator) for _ in range(config.layers))
        self.output = seeded_linear(config.dim, config.dim, generator)
        self.norm = nn.LayerNorm(config.dim)

    def encode(self, vectors: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        """Read item after item; see ``Backbone.encode``."""
        rate = self.config.dropout
        vectors = vectors * math.sqrt(self.config.dim)
        for layer in self.layers:
            vectors, _ = layer(drop(vectors, rate, dropout))
        users: torch.Tensor = self.norm(self.output(drop(vectors, rate, dropout)))
        return users
