"""A world in which hints help whom they suit, and a policy of each PPO kind trained on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import CategoricalPPOTrainer, PPOTrainer, ScoringPPOTrainer
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards

TRAINED = 300
TRAINERS: dict[str, type[PPOTrainer]] = {
    "categorical": CategoricalPPOTrainer,
    "scoring": ScoringPPOTrainer,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def whole_world() -> PlantedRewards:
    return planted_rewards(TRAINED + 500, 5, 8, signal=1.0, noise=0.1, seed=3)


@pytest.fixture(scope="session")
def train_world(whole_world: PlantedRewards) -> PlantedRewards:
    return whole_world.between(0, TRAINED)


@pytest.fixture(scope="session")
def held_out_world(whole_world: PlantedRewards) -> PlantedRewards:
    """Sessions of the same world that nothing was trained on."""
    return whole_world.between(TRAINED, TRAINED + 500)


@pytest.fixture(scope="session", params=sorted(TRAINERS))
def trainer_type(request: pytest.FixtureRequest) -> type[PPOTrainer]:
    return TRAINERS[request.param]


@pytest.fixture(scope="session")
def quick() -> PPOConfig:
    """Enough to learn a world with hardly any noise in well under a second."""
    return PPOConfig(
        iterations=30,
        minibatch_size=1200,
        samples_per_session=4,
        learning_rate=0.02,
        clip=0.2,
        entropy_weight=0.02,
        hidden_sizes=(16,),
        latent_size=8,
    )


@pytest.fixture(scope="session")
def trained(
    trainer_type: type[PPOTrainer], train_world: PlantedRewards, quick: PPOConfig
) -> PPOHintPolicy:
    return trainer_type(quick).fit(train_world.rewarded(), seed=1)
