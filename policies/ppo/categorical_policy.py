"""The paper's policy: one output for each hint it was trained on."""

from __future__ import annotations

from agentrec.policies.ppo.policy import PPOHintPolicy


class CategoricalPPOPolicy(PPOHintPolicy):
    """Chooses among the hints it was trained on, and no hint.

    What is on offer may be some of the trained hints, in any order, mixed with others: those not
    on offer are masked, those it does not know get no probability.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    """

    kind = "categorical_ppo"
    actor = "categorical"
