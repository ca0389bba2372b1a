"""The networks of sequential recommenders, SASRec and GRU4Rec; all chance comes from generators."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from agentrec.policies.sequential.config import BackboneConfig, BackboneKind

PADDING = 0
"""Item number that stands for no item; the items of the catalogue are 1 to ``num_items``."""

_SPREAD = 0.02


def seeded_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Make a linear layer: weights drawn as by Glorot and Bengio (2010), bias 0."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def drop(values: torch.Tensor, rate: float, generator: torch.Generator | None) -> torch.Tensor:
    """Set a share of the values to 0 and scale the rest up, so that the mean stays.

    Args:
        values: Of any shape.
        rate: Share to drop, at least 0, below 1.
        generator: Source of the dropout; ``None``: nothing is dropped.
    """
    if generator is None or rate == 0:
        return values
    kept = torch.rand(values.shape, generator=generator) >= rate
    return values * kept / (1 - rate)


class Backbone(nn.Module, ABC):
    """A network that reads item numbers and predicts, after each of them, what comes next.

    How well an item fits a user is the product of their vectors:
    ``backbone(items) @ backbone.item_vectors.T``. Nothing that comes later changes an earlier
    vector, and padding changes none. The global random state is not touched.

    Args:
        num_items: Size of the catalogue, at least 1.
        config: The hyper-parameters.
        generator: Source of the initial parameters.

    Attributes:
        item_vectors: Vector of each item number, ``[1 + num_items, dim]``; that of padding, the
            first, means nothing and is never trained.
    """

    def __init__(self, num_items: int, config: BackboneConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        vectors = torch.empty(1 + num_items, config.dim)
        vectors.normal_(std=_SPREAD, generator=generator)
        vectors[PADDING] = 0
        self.item_vectors = nn.Parameter(vectors)

    def forward(self, items: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """Read histories.

        Args:
            items: Item numbers, ``[batch, length]``, int64, oldest first, left-padded with 0;
                ``length`` is 1 to ``config.max_length``.
            dropout: Source of the dropout; ``None`` for none, as in use.

        Returns:
            User vectors, ``[batch, length, dim]``: at each position that of a user whose history
            ends there; zeros at padding.
        """
        # Items first, padding last: a causal network cannot see what comes later.
        positions = torch.arange(items.shape[1])
        gaps = (items == PADDING).sum(dim=1, keepdim=True)
        in_front = items.gather(1, (positions + gaps) % items.shape[1])
        users = self.encode(
            functional.embedding(in_front, self.item_vectors, padding_idx=PADDING), dropout
        )
        back = ((positions - gaps) % items.shape[1])[..., None].expand_as(users)
        return users.gather(1, back) * (items != PADDING)[..., None]

    @abstractmethod
    def encode(self, vectors: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        """Make user vectors of item vectors.

        Args:
            vectors: ``[batch, length, dim]``, oldest first, padding behind the last.
            dropout: As ``forward``'s.

        Returns:
            ``[batch, length, dim]``, each made of the vectors up to its position alone.
        """


class SASRec(Backbone):
    """Self-attention over the history, each item seeing those before it and itself.

    Source: SASRec (arXiv 1808.09781), section III.
    Differs: queries, keys and values are all made of normalised vectors; cross-entropy over the
    whole catalogue instead of one sampled negative; positions are counted from the first item on,
    so that a history is read alike as a session's and as the beginning of a longer one.
    """

    def __init__(self, num_items: int, config: BackboneConfig, generator: torch.Generator) -> None:
        super().__init__(num_items, config, generator)
        positions = torch.empty(config.max_length, config.dim)
        # Named so in files.
        self.places = nn.Parameter(positions.normal_(std=0.02, generator=generator))
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
    """Attention, then two layers at each position alone, each added to its input."""

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


class GRU4Rec(Backbone):
    """Gated recurrent units over the history.

    Source: GRU4Rec (arXiv 1511.06939), section 3.
    Differs: the same vectors stand for an item where it is read and where it is predicted;
    cross-entropy over the whole catalogue instead of a pairwise loss over the other items of a
    mini-batch; sessions are padded, not strung together.
    """

    def __init__(self, num_items: int, config: BackboneConfig, generator: torch.Generator) -> None:
        super().__init__(num_items, config, generator)
        self.layers = nn.ModuleList(
            _seeded_gru(config.dim, generator) for _ in range(config.layers)
        )
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


def _seeded_gru(dim: int, generator: torch.Generator) -> nn.GRU:
    """Make a recurrent layer, ``[batch, length, dim]`` to the same, initialised as torch does."""
    layer = nn.GRU(dim, dim, batch_first=True, device="meta").to_empty(device="cpu")
    bound = 1 / math.sqrt(dim)
    for weight in layer.parameters():
        nn.init.uniform_(weight, -bound, bound, generator=generator)
    return layer


BACKBONES: Mapping[BackboneKind, Callable[[int, BackboneConfig, torch.Generator], Backbone]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
}


@torch.no_grad()
def user_vectors(backbone: Backbone, histories: torch.Tensor) -> torch.Tensor:
    """Compute the vectors of users at the ends of their histories.

    Args:
        backbone: The network.
        histories: Item numbers, ``[batch, length]``, left-padded with 0.

    Returns:
        ``[batch, dim]``; zeros for a row of padding alone.
    """
    last: torch.Tensor = backbone(histories)[:, -1]
    return last


@torch.no_grad()
def item_scores(
    backbone: Backbone, histories: torch.Tensor, log_counts: torch.Tensor
) -> torch.Tensor:
    """Compute how well items fit, beyond the popularity that training took for granted.

    Args:
        backbone: The network.
        histories: Item numbers, ``[batch, length]``, left-padded with 0.
        log_counts: ``log(1 + occurrences in training)`` of each item, ``[num_items]``.

    Returns:
        ``[batch, num_items]``. For a row of padding alone, the part of popularity that training
        did not take for granted: all that is known of a user without a history.
    """
    scores = user_vectors(backbone, histories) @ backbone.item_vectors[1:].T
    unknown_user = (1 - backbone.config.popularity_offset) * log_counts
    empty = (histories == PADDING).all(dim=1, keepdim=True)
    return torch.where(empty, unknown_user, scores)
