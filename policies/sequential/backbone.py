"""What every backbone has: item vectors, and user vectors in the same space."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from agentrec.policies.sequential.config import BackboneConfig

PADDING = 0
"""Item number that stands for no item; the items of the catalogue are 1 to ``num_items``."""

_SPREAD = 0.02


class Backbone(nn.Module, ABC):
    """A network that reads item numbers and tells, after each of them, what may come next.

    The likeness of a user vector to an item vector, their product, is how well the item fits:
    ``backbone(items) @ backbone.item_vectors.T``. Nothing that comes later changes an earlier
    vector, and padding changes none.

    Neither making nor calling one touches the global random state.

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
            dropout: Where the chance of dropout comes from; ``None`` for none, as in use.

        Returns:
            User vectors, ``[batch, length, dim]``: at each place that of a user who has come so
            far; zeros at padding.
        """
        # With the items in front, nobody before padding can see it: what is causal ignores it.
        places = torch.arange(items.shape[1])
        gaps = (items == PADDING).sum(dim=1, keepdim=True)
        in_front = items.gather(1, (places + gaps) % items.shape[1])
        users = self.encode(
            functional.embedding(in_front, self.item_vectors, padding_idx=PADDING), dropout
        )
        back = ((places - gaps) % items.shape[1])[..., None].expand_as(users)
        return users.gather(1, back) * (items != PADDING)[..., None]

    @abstractmethod
    def encode(self, vectors: torch.Tensor, dropout: torch.Generator | None) -> torch.Tensor:
        """Make user vectors of item vectors.

        Args:
            vectors: ``[batch, length, dim]``, oldest first, padding behind the last.
            dropout: As ``forward``'s.

        Returns:
            ``[batch, length, dim]``, each made of the vectors up to its place alone.
        """
