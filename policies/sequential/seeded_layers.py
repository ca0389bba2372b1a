"""Layers and dropout whose chance comes from a generator, never from the global random state."""

from __future__ import annotations

import math

import torch
from torch import nn


def seeded_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer, its weights drawn as Glorot and Bengio (2010) do, its bias 0."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def seeded_gru(dim: int, generator: torch.Generator) -> nn.GRU:
    """A recurrent layer from ``[batch, length, dim]`` to the same, initialised as torch does."""
    layer = nn.GRU(dim, dim, batch_first=True, device="meta").to_empty(device="cpu")
    bound = 1 / math.sqrt(dim)
    for weight in layer.parameters():
        nn.init.uniform_(weight, -bound, bound, generator=generator)
    return layer


def drop(values: torch.Tensor, rate: float, generator: torch.Generator | None) -> torch.Tensor:
    """Set a share of the values to 0 and scale the rest up, so that the mean stays.

    Args:
        values: Of any shape.
        rate: Share to drop, at least 0, below 1.
        generator: Where the chance comes from; ``None``: nothing is dropped.
    """
    if generator is None or rate == 0:
        return values
    kept = torch.rand(values.shape, generator=generator) >= rate
    return values * kept / (1 - rate)
