from collections.abc import Iterator

import pytest
import torch

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import CategoricalPPOTrainer, PPOTrainer, ScoringPPOTrainer
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards

TRAINERS = {"categorical_ppo": CategoricalPPOTrainer, "scoring_ppo": ScoringPPOTrainer}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_world() -> PlantedRewards:
    return planted_rewards(300, 5, 12, signal=1.0, noise=0.2, seed=3)


@pytest.fixture(scope="session")
def small_config() -> PPOConfig:
    return PPOConfig(iterations=12, members=2, hidden_sizes=(16,), latent_size=8, max_components=8)


@pytest.fixture(scope="session", params=sorted(TRAINERS))
def trainer_type(request: pytest.FixtureRequest) -> type[PPOTrainer]:
    """Each kind of PPO in turn."""
    return TRAINERS[request.param]


@pytest.fixture(scope="session")
def trained(
    trainer_type: type[PPOTrainer], small_world: PlantedRewards, small_config: PPOConfig
) -> PPOHintPolicy:
    train, valid = small_world.between(0, 250), small_world.between(250, 300)
    return trainer_type(small_config).fit(train.rewarded(), valid.rewarded(), seed=1)
