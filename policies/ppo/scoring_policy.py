"""The default policy: it scores any hint by its text, so hints can change under it."""

from __future__ import annotations

from agentrec.policies.ppo.policy import PPOHintPolicy


class ScoringPPOPolicy(PPOHintPolicy):
    """Chooses among whatever hints are on offer, new ones included, and no hint.

    A new hint is scored by what was learnt of hints with texts like its own.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: the paper's policy has one output a hint and must be trained anew when hints change.
    """

    kind = "scoring_ppo"
    actor = "scoring"
