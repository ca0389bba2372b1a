"""Knowledge adapters: from what a text says of a user to what the user wants of items.

Source: KAR (arXiv 2306.10933), section 4.3.
Differs: what is known of items is taken as it is, without a second adapter; and a text adds to the
backbone's scores instead of becoming one more feature, so that without a text the recommender is
the backbone alone, and a few hundred texts are enough to learn from.
"""

from __future__ import annotations

import torch
from torch import nn

from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.sequential.seeded_layers import drop, seeded_linear


class MLPAdapter(nn.Module):
    """One hidden layer.

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
        # At first a text wants nothing: what training starts from is the backbone.
        nn.init.zeros_(self.out.weight)

    def forward(self, texts: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """What texts want of items.

        Args:
            texts: ``[batch, text_dim]``.
            dropout: Where the chance of dropout comes from; ``None`` for none.

        Returns:
            ``[batch, outputs]``.
        """
        inputs = drop(texts, self.dropout, dropout)
        wanted: torch.Tensor = self.out(torch.relu(self.hidden(inputs)))
        return wanted


class MixtureAdapter(nn.Module):
    """Several experts, weighed by the text.

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
        self.experts = nn.ModuleList(
            MLPAdapter(inputs, outputs, config.model_copy(update={"dropout": 0.0}), generator)
            for _ in range(config.experts)
        )
        self.gate = seeded_linear(inputs, config.experts, generator)

    def forward(self, texts: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """What texts want of items; see ``MLPAdapter.forward``."""
        inputs = drop(texts, self.dropout, dropout)
        weights = torch.softmax(self.gate(inputs), dim=-1)
        wanted = torch.stack([expert(inputs) for expert in self.experts], dim=-1)
        return (wanted * weights[..., None, :]).sum(dim=-1)


def make_adapter(
    inputs: int, outputs: int, config: RewardModelConfig, generator: torch.Generator
) -> MLPAdapter | MixtureAdapter:
    """The adapter that the configuration names."""
    kind = MLPAdapter if config.adapter == "mlp" else MixtureAdapter
    return kind(inputs, outputs, config, generator)
