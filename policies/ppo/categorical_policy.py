"""The hint policy that PPO trains."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from agentrec.errors import InputError
from agentrec.hints import Hint, HintChoice
from agentrec.policies.ppo.network import ActorCritic
from agentrec.policies.policy_files import PolicyDescription, read_policy, write_policy
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.standardiser import Standardiser
from agentrec.policies.ppo.training_curve import CurvePoint


class PPOHintPolicy:
    """Chooses among the hints it was trained on, and no hint.

    The hints on offer may be some of the trained ones, in any order, mixed with others: those not
    on offer are masked, those it does not know get no probability, and no hint is always possible.
    Greedy unless made ``sampling``; a greedy choice depends on its session alone.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation.
    Differs: an option is known by its hint's content-derived id, never by its place in a list.

    Args:
        networks: The members, at least one, whose probabilities are averaged.
        standardiser: From raw states to the networks' features.
        hint_ids: The trained hints, options ``1 .. num_hints``; option 0 is no hint.
        config: What it was trained with.
        seed: What it was trained with.
        curve: How training went.
        generator: Source of sampled choices; ``None`` for greedy ones.
    """

    def __init__(
        self,
        networks: Sequence[ActorCritic],
        standardiser: Standardiser,
        hint_ids: Sequence[str],
        *,
        config: PPOConfig,
        seed: int,
        curve: Sequence[CurvePoint] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        if not networks:
            raise ValueError("a policy needs at least one network")
        self.hint_ids = tuple(hint_ids)
        self.config = config
        self.seed = seed
        self.curve = tuple(curve)
        self._networks = tuple(networks)
        self._standardiser = standardiser
        self._generator = generator
        self._option = {hint_id: 1 + at for at, hint_id in enumerate(self.hint_ids)}

    @property
    def state_dim(self) -> int:
        """Width of the states it was trained on."""
        return self._standardiser.state_dim

    @property
    def parameter_hash(self) -> str:
        """SHA-256 over all weights and the standardiser: equal for equal policies."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"{name}{list(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def sampling(self, seed: int) -> PPOHintPolicy:
        """The same policy, but drawing from its distribution.

        Draws advance one generator, so two calls in a row differ; the same seed and the same calls
        give the same choices.
        """
        return PPOHintPolicy(
            self._networks,
            self._standardiser,
            self.hint_ids,
            config=self.config,
            seed=self.seed,
            curve=self.curve,
            generator=torch.Generator().manual_seed(seed),
        )

    def choose(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> list[HintChoice]:
        """Choose for a batch of sessions.

        Args:
            states: Raw encoded sessions, shape ``[batch, state_dim]``.
            hints: The hints on offer, beside no hint.

        Returns:
            One choice a session, in order. Log-probabilities are those of the distribution over
            what is on offer, also for greedy choices.

        Raises:
            ValueError: The states are not as wide as the trained ones, or not finite.
        """
        probabilities = self.probabilities(states, hints)
        with torch.no_grad():
            features = self._standardiser(states)
            values = torch.stack([net.values(features) for net in self._networks]).mean(dim=0)
        if len(probabilities) == 0:
            return []
        if self._generator is None:
            options = probabilities.argmax(dim=-1)
        else:
            drawn = torch.multinomial(probabilities, 1, generator=self._generator)
            options = drawn.squeeze(1)
        taken = probabilities.gather(1, options[:, None]).squeeze(1)
        return [
            HintChoice(
                hint_id=None if option == 0 else self.hint_ids[option - 1],
                # Rounding can leave a certain choice a hair above probability 1.
                log_probability=min(0.0, log_probability),
                value=value,
            )
            for option, log_probability, value in zip(
                options.tolist(), taken.log().tolist(), values.tolist(), strict=True
            )
        ]

    @torch.no_grad()
    def probabilities(self, states: npt.NDArray[np.float32], hints: Sequence[Hint]) -> torch.Tensor:
        """The distribution over the trained options, given what is on offer.

        Args:
            states: Raw encoded sessions, shape ``[batch, state_dim]``.
            hints: The hints on offer, beside no hint.

        Returns:
            Shape ``[batch, 1 + num_hints]``, rows sum to 1; column 0 is no hint, columns follow
            ``hint_ids``, and those not on offer hold 0.
        """
        features = self._standardiser(states)
        offered = torch.zeros(1 + len(self.hint_ids), dtype=torch.bool)
        offered[0] = True
        for hint in hints:
            option = self._option.get(hint.hint_id)
            if option is not None:
                offered[option] = True
        # Masked before the softmax: what is on offer shares all of the probability.
        return torch.stack(
            [
                torch.softmax(net.logits(features).masked_fill(~offered, float("-inf")), dim=-1)
                for net in self._networks
            ]
        ).mean(dim=0)

    def save(self, folder: Path) -> None:
        """Write the policy to ``folder``; one that is there is replaced in one step."""
        description = PolicyDescription(
            config=self.config,
            hint_ids=self.hint_ids,
            state_dim=self.state_dim,
            seed=self.seed,
            curve=self.curve,
        )
        write_policy(folder, description, self._tensors())

    @staticmethod
    def load(folder: Path) -> PPOHintPolicy:
        """Read a policy that ``save`` wrote; it is greedy.

        Raises:
            InputError: The folder does not hold a whole policy.
        """
        description, tensors, weights_file = read_policy(folder)
        mean = _take(tensors, "standardiser.mean", (description.state_dim,), weights_file)
        projection = _take(tensors, "standardiser.projection", None, weights_file)
        if projection.ndim != 2 or projection.shape[0] != description.state_dim:
            raise InputError(
                f"has shape {list(projection.shape)}; "
                f"the policy needs [{description.state_dim}, num_features]",
                file=weights_file,
                field="standardiser.projection",
            )
        networks: list[ActorCritic] = []
        for member in range(description.config.members):
            network = ActorCritic(
                projection.shape[1],
                1 + len(description.hint_ids),
                description.config.hidden_sizes,
                torch.Generator(),
            )
            weights = {
                name: _take(tensors, f"member.{member}.{name}", tuple(own.shape), weights_file)
                for name, own in network.state_dict().items()
            }
            network.load_state_dict(weights)
            networks.append(network)
        if tensors:
            raise InputError(
                "holds tensors the policy does not have", file=weights_file, field=min(tensors)
            )
        return PPOHintPolicy(
            networks,
            Standardiser(mean, projection),
            description.hint_ids,
            config=description.config,
            seed=description.seed,
            curve=description.curve,
        )

    def _tensors(self) -> dict[str, torch.Tensor]:
        """All numbers of the policy by name."""
        tensors = {
            "standardiser.mean": self._standardiser.mean,
            "standardiser.projection": self._standardiser.projection,
        }
        for member, network in enumerate(self._networks):
            for name, weight in network.state_dict().items():
                tensors[f"member.{member}.{name}"] = weight
        return tensors


def _take(
    tensors: dict[str, torch.Tensor], name: str, shape: tuple[int, ...] | None, file: Path
) -> torch.Tensor:
    """Remove a tensor from ``tensors``, or say what is wrong with it."""
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise InputError("is missing", file=file, field=name)
    if tensor.dtype != torch.float32:
        raise InputError(f"is {tensor.dtype}; it must be float32", file=file, field=name)
    if shape is not None and tuple(tensor.shape) != shape:
        raise InputError(
            f"has shape {list(tensor.shape)}; the policy needs {list(shape)}", file=file, field=name
        )
    if not bool(torch.isfinite(tensor).all()):
        raise InputError("holds a value that is not finite", file=file, field=name)
    return tensor
