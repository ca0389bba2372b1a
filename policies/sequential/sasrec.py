"""A user as what attention finds in the history."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from agentrec.policies.sequential.backbone import Backbone
from agentrec.policies.sequential.config import BackboneConfig
from agentrec.policies.sequential.seeded_layers import drop, seeded_linear


class SASRec(Backbone):
    """Self-attention over the history, each item seeing those before it and itself.

    Source: SASRec (arXiv 1808.09781), section III.
    Differs: queries, keys and values are all made of normalised vectors; cross-entropy over the
    whole catalogue instead of one sampled negative; places are counted from the first item on,
    so that a history is read alike as a session's and as the beginning of a longer one.

    Args:
        num_items: See ``Backbone``.
        config: See ``Backbone``.
        generator: See ``Backbone``.
    """

    def __init__(self, num_items: int, config: BackboneConfig, generator: torch.Generator) -> None:
        super().__init__(num_items, config, generator)
        places = torch.empty(config.max_length, config.dim)
        self.places = nn.Parameter(places.normal_(std=0.02, generator=generator))
        self.blocks = nn.ModuleList(_Block(config, generator) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def encode(self, vectors: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        """Attend, block after block; see ``Backbone.encode``."""
        vectors = vectors * math.sqrt(self.config.dim) + self.places[: vectors.shape[1]]
        vectors = drop(vectors, self.config.dropout, dropout)
        for block in self.blocks:
            vectors = block(vectors, dropout)
        users: torch.Tensor = self.norm(vectors)
        return users


class _Block(nn.Module):
    """Attention, then two layers at each place alone, each added to what came in."""

    def __init__(self, config: BackboneConfig, generator: torch.Generator) -> None:
        super().__init__()
        dim = config.dim
        self._heads = config.heads
        self._rate = config.dropout
        self.before_attention = nn.LayerNorm(dim)
        self.queries_keys_values = seeded_linear(dim, 3 * dim, generator)
        self.after_attention = seeded_linear(dim, dim, generator)
        self.before_layers = nn.LayerNorm(dim)
        self.first = seeded_linear(dim, dim, generator)
        self.second = seeded_linear(dim, dim, generator)

    def forward(self, vectors: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        attended = self._attend(self.before_attention(vectors), dropout)
        vectors = vectors + drop(attended, self._rate, dropout)
        hidden = functional.relu(self.first(self.before_layers(vectors)))
        changed = self.second(drop(hidden, self._rate, dropout))
        return vectors + drop(changed, self._rate, dropout)

    def _attend(self, vectors: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        batch, length, dim = vectors.shape
        # [batch, heads, length, dim / heads] each
        queries, keys, values = (
            each.reshape(batch, length, self._heads, dim // self._heads).transpose(1, 2)
            for each in self.queries_keys_values(vectors).chunk(3, dim=-1)
        )
        fits = queries @ keys.transpose(-1, -2) / math.sqrt(dim // self._heads)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        shares = fits.masked_fill(later, float("-inf")).softmax(dim=-1)
        # torch's own attention would draw its dropout from the global random state.
        mixed = drop(shares, self._rate, dropout) @ values
        attended: torch.Tensor = self.after_attention(
            mixed.transpose(1, 2).reshape(batch, length, dim)
        )
        return attended
