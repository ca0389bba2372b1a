"""What the two PPO policies have in common: acting, saving, loading."""

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
from agentrec.policies.ppo.networks import ActorCritics, ActorName
from agentrec.policies.ppo.numpy_inference import ActingNetworks
from agentrec.policies.ppo.offer_tensors import HintFeatures
from agentrec.policies.standardiser import Standardiser


class PPODescription(BaseModel):
    """What the numbers of a policy mean.

    Attributes:
        config: What it was trained with; decides the shapes of the networks.
        hint_ids: The trained hints.
        state_dim: Width of a raw state.
        dimension: Width of a hint's text vector.
        seed: What it was trained with.
        curve: How training went.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: PPOConfig
    hint_ids: tuple[str, ...]
    state_dim: int = Field(ge=1)
    dimension: int = Field(ge=1)
    seed: int
    curve: tuple[CurvePoint, ...] = ()


class PPOHintPolicy(PolicyOnDisk):
    """Chooses what several networks, their probabilities averaged, think most probably best.

    No hint is always possible. Greedy unless made ``sampling``; a greedy choice is certain and
    depends on its session alone. Scores are the natural logs of the probabilities.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.

    Args:
        networks: The members.
        standardiser: From raw states to the networks' features.
        hints: What is seen of a hint, and which ones were trained on.
        config: What it was trained with.
        seed: What it was trained with.
        curve: How training went.
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
        self._acting = ActingNetworks(networks, standardiser, hints)
        self._standardiser = standardiser
        self._hints = hints
        self._generator = generator

    @property
    def hint_ids(self) -> tuple[str, ...]:
        """The trained hints."""
        return self._hints.hint_ids

    @property
    def state_dim(self) -> int:
        """Width of the states it was trained on."""
        return self._standardiser.raw_dim

    def sampling(self, seed: int) -> Self:
        """The same policy, but drawing from its distribution.

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

        Values are what the critic predicts.

        Raises:
            ValueError: The states, or the hints' vectors, are not as wide as the trained ones.
        """
        probabilities, values = self._acting.probabilities_and_values(offer)
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
        """The distribution over what is on offer.

        Returns:
            Shape ``[batch, 1 + width]``, rows sum to 1; column 0 is no hint, column ``1 + c``
            candidate ``c``, 0 where there is none.
        """
        return self._acting.probabilities_and_values(offer)[0]

    def stored_parts(self) -> tuple[BaseModel, Mapping[str, np.ndarray[Any, Any]]]:
        """What the numbers mean, and the numbers by name."""
        description = PPODescription(
            config=self.config,
            hint_ids=self.hint_ids,
            state_dim=self.state_dim,
            dimension=self._hints.standardiser.raw_dim,
            seed=self.seed,
            curve=self.curve,
        )
        tensors: dict[str, np.ndarray[Any, Any]] = {
            "state.mean": self._standardiser.mean,
            "state.projection": self._standardiser.projection,
            "hint.mean": self._hints.standardiser.mean,
            "hint.projection": self._hints.standardiser.projection,
        }
        for name, weight in self._networks.state_dict().items():
            tensors[f"networks.{name}"] = weight.numpy()
        return description, tensors

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> Self:
        """Make the policy that was read; it is greedy.

        Raises:
            InputError: It is not a whole policy of this kind.
        """
        description = stored.described_as(PPODescription)
        state = _standardiser(stored, "state", description.state_dim)
        hint = _standardiser(stored, "hint", description.dimension)
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
        stored.refuse_other_tensors()
        networks.load_state_dict(weights)
        return cls(
            networks,
            state,
            HintFeatures(description.hint_ids, hint),
            config=description.config,
            seed=description.seed,
            curve=description.curve,
        )


def _standardiser(stored: StoredPolicy, name: str, raw_dim: int) -> Standardiser:
    projection = stored.take(f"{name}.projection", (raw_dim, None))
    return Standardiser(stored.take(f"{name}.mean", (raw_dim,)), projection)


class CategoricalPPOPolicy(PPOHintPolicy):
    """Chooses among the hints it was trained on, and no hint.

    What is on offer may be some of the trained hints, in any order, mixed with others: those not
    on offer are masked, those it does not know get no probability.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    """

    kind = "categorical_ppo"
    actor = "categorical"


class ScoringPPOPolicy(PPOHintPolicy):
    """Chooses among whatever hints are on offer, new ones included, and no hint.

    A new hint is scored by what was learnt of hints with texts like its own.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: the paper's policy has one output a hint and must be trained anew when hints change.
    """

    kind = "scoring_ppo"
    actor = "scoring"
