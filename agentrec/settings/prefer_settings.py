"""How preference texts are collected, and what rewards them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agentrec.continuations import Relevant
from agentrec.graphs.preferences.pairing import PairingRules
from agentrec.plugins import REWARD_MODELS, plugin_names
from agentrec.policies.reward_model.config import RewardModelConfig
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind

REWARDS = ("recommender", "model", "both")

_OF_REWARD_MODEL = (
    "temperature",
    "shown_share",
    "reward_share",
    "reward_texts",
    "backbone",
    "backbone_settings",
    "reward_model",
)


class PreferSettings(BaseModel):
    """How preference texts are collected, and what rewards them.

    Attributes:
        samples: Texts per session, at least 2. More: best and worst lie further apart, at the
            cost of as many calls.
        temperature: Sampling temperature of the texts, above 0.
        shown_share: Share of a history, above 0 to 1, that texts are written from: its first part.
        writer: Chat model that writes the texts, as ``PROVIDER:MODEL``, such as a tuned one whose
            pairs are collected for a further round; ``None`` for the run's. In any case the run's
            model ranks, and writes what the reward model learns from.
        reward_share: Share of the training sessions, the earliest, that the reward model learns
            from, 0 to 1 (both exclusive). Pairs are collected from the later ones, or from all if
            the reward is the ``model``'s, which learns from none.
        reward_texts: Texts per session that the reward model learns from, at least 1. More: it
            understands texts better, at the cost of as many calls.
        reward: What scores a text: the ``recommender`` that receives it, the language ``model``,
            which ranks once per text, the mean of ``both``, or the name of a reward model that an
            installed package brings.
        relevant: What a text should find: the ``target``, or the ``rest``: everything after the
            part of the history that it is written from, which separates good texts from lucky
            ones.
        max_sessions: Most sessions from which pairs are collected, at least 1; the latest.
        backbone: The recommender that receives texts: ``sasrec`` or ``gru4rec``.
        backbone_settings: The backbone's own settings; see ``BackboneConfig``.
        reward_model: How texts enter the backbone.
        rules: What makes two texts a pair.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(default=6, ge=2)
    temperature: float = Field(default=0.8, gt=0, allow_inf_nan=False)
    shown_share: float = Field(default=0.7, gt=0, le=1)
    writer: str | None = None
    reward_share: float = Field(default=0.4, gt=0, lt=1)
    reward_texts: int = Field(default=4, ge=1)
    reward: str = "both"
    relevant: Relevant = "rest"
    max_sessions: int = Field(default=1000, ge=1)
    backbone: BackboneKind = "sasrec"
    backbone_settings: dict[str, Any] = Field(default_factory=dict)
    reward_model: RewardModelConfig = Field(default_factory=RewardModelConfig)
    rules: PairingRules = Field(default_factory=PairingRules)

    @field_validator("reward")
    @classmethod
    def _known(cls, reward: str) -> str:
        known = (*REWARDS, *plugin_names(REWARD_MODELS))
        if reward not in known:
            raise ValueError(f"{reward!r} is not one of the reward models: {', '.join(known)}")
        return reward

    def backbone_config(self) -> BackboneConfig:
        """Return the backbone's hyper-parameters: its defaults, and over them what is set.

        Raises:
            ValidationError: If the backbone does not have a setting.
        """
        return BackboneConfig.model_validate(self.backbone_settings)

    def of_reward_model(self) -> PreferSettings:
        """Return the same, with defaults for all that the reward model does not depend on."""
        kept = {name: getattr(self, name) for name in _OF_REWARD_MODEL}
        return PreferSettings().model_copy(update=kept)
