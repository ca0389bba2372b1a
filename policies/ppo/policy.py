"""The two PPO hint policies: acting, saving, loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from agentrec.hint_offers import HintChoices, HintOffer, choose_best
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy
from agentrec.policies.ppo.config import CurvePoint, PPOConfig
from agentrec.policies.ppo.networks import ActorCritics, ActorName, HintFeatures
from agentrec.policies.ppo.numpy_inference import NumpyActorCritics
from agentrec.policies.standardiser import Standardiser


class _Description(BaseModel):
    """What the numbers of a policy mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: PPOConfig
    hint_ids: tuple[str, ...]
    state_dim: int = Field(ge=1)
    dimension: int = Field(ge=1)
    seed: int
    curve: tuple[CurvePoint, ...] = ()


class PPOHintPolicy(PolicyOnDisk):
    """Chooses the option that several networks, on average, think most probably best.

    No hint is always an option. Greedy unless made ``sampling``; a greedy choice is certain and
    depends on its session alone. Scores are the natural logs of the probabilities.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.

    Args:
        networks: The members of the ensemble.
        standardiser: From raw states to the networks' features.
        hints: Features of hints, and which hints were trained on.
        config: What it was trained with.
        seed: Seed of its training.
        curve: Its learning curve.
        generator: Source of sampled choices; ``None`` for greedy ones.
    """

    actor: ClassVar[ActorName]

    def __init__(
        self,
        networks: ActorCritics,
        standardiser: Standardiser,
        hints: HintFeatures,
        *,
        config: PPOConfig,
        seed: int,
        curve: Sequence[CurvePoint] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        self.config = config
        self.seed = seed
        self.curve = tuple(curve)
        self._networks = networks
        self._inference = NumpyActorCritics(networks, standardiser, hints)
        self._standardiser = standardiser
        self._hints = hints
        self._generator = generator

    @property
    def hint_ids(self) -> tuple[str, ...]:
        """The hints trained on."""
        return self._hints.hint_ids

    @property
    def state_dim(self) -> int:
        """Width of the states trained on."""
        return self._standardiser.raw_dim

    def sampling(self, seed: int) -> Self:
        """Return the same policy, drawing from its distribution.

        Draws advance one generator, so two calls in a row differ; the same seed and the same calls
        give the same choices.
        """
        return type(self)(
            self._networks,
            self._standardiser,
            self._hints,
            config=self.config,
            seed=self.seed,
            curve=self.curve,
            generator=torch.Generator().manual_seed(seed),
        )

    def choose(self, offer: HintOffer) -> HintChoices:
        """Choose for a batch of sessions; see ``HintPolicy.choose``.

        Values are the critic's predictions.

        Raises:
            ValueError: The states, or the hints' vectors, are not as wide as the trained ones.
        """
        probabilities, values = self._inference.probabilities_and_values(offer)
        with np.errstate(divide="ignore"):
            scores = np.log(probabilities)
        if self._generator is None:
            return choose_best(offer, scores, values)
        drawn = (
            torch.multinomial(torch.from_numpy(probabilities), 1, generator=self._generator)
            if len(offer)
            else torch.zeros((0, 1), dtype=torch.int64)
        ).numpy()
        # Rounding can leave a certain choice a hair above probability 1.
        taken = np.minimum(np.take_along_axis(scores, drawn, axis=1)[:, 0], 0)
        return HintChoices(offer, drawn[:, 0], taken, values, scores)

    def probabilities(self, offer: HintOffer) -> npt.NDArray[np.float32]:
        """Return the distribution over what is on offer.

        Returns:
            Shape ``[batch, 1 + width]``, rows sum to 1; column 0 is no hint, column ``1 + c``
            candidate ``c``, 0 where there is none.
        """
        return self._inference.probabilities_and_values(offer)[0]

    def description_and_tensors(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """See ``PolicyOnDisk``."""
        description = _Description(
            config=self.config,
            hint_ids=self.hint_ids,
            state_dim=self.state_dim,
            dimension=self._hints.standardiser.raw_dim,
            seed=self.seed,
            curve=self.curve,
        )
        networks = self._networks.state_dict().items()
        return description, {
            **self._standardiser.tensors("state"),
            **self._hints.standardiser.tensors("hint"),
            **{f"networks.{name}": weight.numpy() for name, weight in networks},
        }

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """See ``PolicyOnDisk``; the policy is greedy."""
        description = stored.parse_description(_Description)
        state = Standardiser.from_stored(stored, "state", description.state_dim)
        hint = Standardiser.from_stored(stored, "hint", description.dimension)
        networks = ActorCritics(
            cls.actor,
            state.num_features,
            hint.num_features,
            len(description.hint_ids),
            description.config,
            [torch.Generator()] * description.config.members,
        )
        weights = {
            name: torch.from_numpy(stored.take(f"networks.{name}", tuple(own.shape)))
            for name, own in networks.state_dict().items()
        }
        stored.reject_unused_tensors()
        networks.load_state_dict(weights)
        return cls(
            networks,
            state,
            HintFeatures(description.hint_ids, hint),
            config=description.config,
            seed=description.seed,
            curve=description.curve,
        )


class CategoricalPPOPolicy(PPOHintPolicy):
    """The paper's policy: one output for each hint trained on, and one for no hint.

    An offer may hold some of the trained hints, in any order, mixed with others. Hints that are
    not on offer are masked; new ones get no probability.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    """

    kind = "categorical_ppo"
    actor = "categorical"


class ScoringPPOPolicy(PPOHintPolicy):
    """The default policy: it scores any hint by its text, new ones included.

    A new hint is scored by what was learnt of hints with similar texts.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: the paper's policy has one output a hint and must be trained anew when hints change.
    """

    kind = "scoring_ppo"
    actor = "scoring"
