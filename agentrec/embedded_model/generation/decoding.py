"""Writing behind prompts token by token, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel


class CachedDecoding:
    """Rows that are being written, with what the network made of them so far.

    Args:
        network: The network.
        rows: Token ids of each row, at least one row; they are padded in front.
        pad: What they are padded with.
    """

    def __init__(self, network: GPT2LMHeadModel, rows: Sequence[Sequence[int]], pad: int) -> None:
        width = max(map(len, rows))
        self._network = network
        self._step = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
        self._mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        self._cache: Any = None

    def states(self) -> Tensor:
        """What the last token of each row came to, ``[num_rows, width]``; once a step."""
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -self._step.shape[1] :]
        output = self._network.transformer(
            input_ids=self._step,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        states: Tensor = output.last_hidden_state[:, -1]
        return states

    def add(self, tokens: Sequence[Sequence[int]]) -> None:
        """Write on: as many token ids behind every row."""
        self._step = torch.tensor(tokens)
        self._mask = torch.cat([self._mask, torch.ones_like(self._step)], dim=1)
