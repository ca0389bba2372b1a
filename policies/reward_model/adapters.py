"""Knowledge adapters: from what a text says of a user to where that moves the user.

Source: KAR (arXiv 2306.10933), section 4.3.
Differs: one adapter for preference texts, no second one for facts about items beside a linear map;
and a text moves the user vector instead of becoming one more feature, so that without a text the
recommender is the backbone alone.
"""

from __future__ import annotations

import torch
from torch import nn

from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.sequential.seeded_layers import drop, seeded_linear


class MLPAdapter(nn.Module):
    """One hidden layer.

    Args:
        inputs: Width of a user and a text together.
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
        # At first a text moves nobody: what training starts from is the backbone.
        nn.init.zeros_(self.out.weight)

    def forward(
        self, users: torch.Tensor, texts: torch.Tensor, dropout: torch.Generator | None = None
    ) -> torch.Tensor:
        """Where texts move users.

        Args:
            users: ``[batch, dim]``.
            texts: ``[batch, text_dim]``.
            dropout: Where the chance of dropout comes from; ``None`` for none.

        Returns:
            ``[batch, outputs]``.
        """
        inputs = drop(torch.cat([users, texts], dim=-1), self.dropout, dropout)
        moved: torch.Tensor = self.out(torch.relu(self.hidden(inputs)))
        return moved


class MixtureAdapter(nn.Module):
    """Several experts, weighed by the user and the text.

    Args:
        inputs: Width of a user and a text together.
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

    def forward(
        self, users: torch.Tensor, texts: torch.Tensor, dropout: torch.Generator | None = None
    ) -> torch.Tensor:
        """Where texts move users; see ``MLPAdapter.forward``."""
        dim = users.shape[-1]
        inputs = drop(torch.cat([users, texts], dim=-1), self.dropout, dropout)
        weights = torch.softmax(self.gate(inputs), dim=-1)
        moved = [expert(inputs[..., :dim], inputs[..., dim:]) for expert in self.experts]
        return (torch.stack(moved, dim=-1) * weights[..., None, :]).sum(dim=-1)


def make_adapter(
    inputs: int, outputs: int, config: RewardModelConfig, generator: torch.Generator
) -> MLPAdapter | MixtureAdapter:
    """The adapter that the configuration names."""
    kind = MLPAdapter if config.adapter == "mlp" else MixtureAdapter
    return kind(inputs, outputs, config, generator)
