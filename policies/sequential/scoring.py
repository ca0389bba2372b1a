"""From histories to how well every item fits: the one way, in training and in use."""

from __future__ import annotations

import torch

from agentrec.policies.sequential.backbone import PADDING, Backbone


@torch.no_grad()
def user_vectors(backbone: Backbone, histories: torch.Tensor) -> torch.Tensor:
    """Where histories end.

    Args:
        backbone: The network.
        histories: Item numbers, ``[batch, length]``, left-padded with 0.

    Returns:
        ``[batch, dim]``; zeros for a row of padding alone.
    """
    last: torch.Tensor = backbone(histories)[:, -1]
    return last


@torch.no_grad()
def affinities(
    backbone: Backbone, histories: torch.Tensor, log_counts: torch.Tensor
) -> torch.Tensor:
    """How well items fit, beyond the popularity that training took for granted.

    Args:
        backbone: The network.
        histories: Item numbers, ``[batch, length]``, left-padded with 0.
        log_counts: ``log(1 + occurrences in training)`` of each item, ``[num_items]``.

    Returns:
        ``[batch, num_items]``. For a row of padding alone, what is left of popularity itself:
        all that is known of a user without a history.
    """
    scores = user_vectors(backbone, histories) @ backbone.item_vectors[1:].T
    unknown_user = (1 - backbone.config.popularity_offset) * log_counts
    nobody = (histories == PADDING).all(dim=1, keepdim=True)
    return torch.where(nobody, unknown_user, scores)
