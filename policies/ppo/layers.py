"""Layers of several networks that are computed as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

_HIDDEN_GAIN = 2**0.5


class StackedMLP(nn.Module):
    """Several tanh networks of one shape side by side, each with weights of its own.

    Training seeds apart repeats the same small matrix products and is mostly overhead; side by
    side they are one batched product. No number of one network enters another.

    Source: Re2LLM (arXiv 2403.16427), implementation details: tanh, orthogonal initialisation.

    Args:
        sizes: Widths from the input to the output, at least two.
        last_gain: Gain of the last layer's orthogonal initialisation; small: starts near 0.
        generators: Source of the initial weights of each network; the global one is not touched.
    """

    def __init__(
        self, sizes: Sequence[int], last_gain: float, generators: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        last = len(sizes) - 2
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for at, (wide_in, wide_out) in enumerate(pairwise(sizes)):
            gain = last_gain if at == last else _HIDDEN_GAIN
            drawn = [
                nn.init.orthogonal_(torch.empty(wide_out, wide_in), gain, generator=one).T
                for one in generators
            ]
            self.weights.append(nn.Parameter(torch.stack(drawn).contiguous()))
            self.biases.append(nn.Parameter(torch.zeros(len(drawn), 1, wide_out)))
        # The same tensors: looking them up in the lists takes longer than computing a small layer.
        self.layers = list(zip(self.weights, self.biases, strict=True))

    @property
    def num_networks(self) -> int:
        """How many networks there are."""
        return len(self.layers[0][0])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute every network.

        Args:
            inputs: Shape ``[batch, wide_in]``, the same for all, or ``[num_networks, batch,
                wide_in]``.

        Returns:
            Shape ``[num_networks, batch, wide_out]``.
        """
        outputs = inputs if inputs.ndim == 3 else inputs.expand(self.num_networks, -1, -1)
        last = len(self.layers) - 1
        for at, (weight, bias) in enumerate(self.layers):
            outputs = torch.baddbmm(bias, outputs, weight)
            if at < last:
                outputs = torch.tanh(outputs)
        return outputs
