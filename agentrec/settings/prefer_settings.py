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
        samples: Texts a session, at least 2. More: best and worst lie further apart, for as many
            calls.
        temperature: At which they are drawn, above 0.
        shown_share: Share of a history that texts are written from, above 0 to 1: its first part.
        writer: Chat model that writes, as ``PROVIDER:MODEL``, where it is another than the run's,
            such as a tuned one of which pairs are collected for a further round; ``None`` for the
            run's. The run's ranks, and writes what the reward model learns from, in any case.
        reward_share: Share of the training sessions, the earliest ones, that the reward model
            learns from, 0 to 1 (both exclusive); pairs are collected from the later ones, or from
            all where the reward is the ``model``'s, which learns from none.
        reward_texts: Texts a session that the reward model learns from, at least 1. More: it knows
            better what texts mean, for as many calls.
        reward: What says what a text is worth: the told ``recommender``, the language ``model``
            itself, which ranks once a text, the mean of ``both``, or a name that an installed
            package registers as ``agentrec.reward_models``.
        relevant: What a text is to find: the ``target``, or all that came after the part of the
            history that it is written from, the ``rest``, which tells good texts from lucky ones.
        max_sessions: From how many sessions pairs are collected at most, at least 1; the latest.
        backbone: The recommender that texts are told to: ``sasrec`` or ``gru4rec``.
        backbone_settings: What that can be set to; see ``BackboneConfig``.
        reward_model: What texts do to it.
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
        """The backbone's hyper-parameters: its defaults, and over them what is set.

        Raises:
            ValidationError: If a setting is none of its.
        """
        return BackboneConfig.model_validate(self.backbone_settings)

    def of_reward_model(self) -> PreferSettings:
        """The same with everything that the reward model does not depend on as it is by default."""
        kept = {name: getattr(self, name) for name in _OF_REWARD_MODEL}
        return PreferSettings().model_copy(update=kept)
