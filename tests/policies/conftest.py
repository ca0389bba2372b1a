from collections.abc import Callable, Iterator

import pytest
import torch

from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.trainer import PPOTrainer, TrainingResult
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.planted_rewards import PlantedRewards, planted_rewards


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def table_of() -> Callable[[PlantedRewards], RewardTable]:
    def made(planted: PlantedRewards) -> RewardTable:
        return RewardTable(planted.session_ids, planted.hint_ids, planted.ndcg)

    return made


@pytest.fixture(scope="session")
def small_world() -> PlantedRewards:
    return planted_rewards(300, 5, 12, signal=1.0, noise=0.2, seed=3)


@pytest.fixture(scope="session")
def small_config() -> PPOConfig:
    return PPOConfig(iterations=15, members=2, hidden_sizes=(16,), max_components=8)


@pytest.fixture(scope="session")
def small_result(
    small_world: PlantedRewards,
    small_config: PPOConfig,
    table_of: Callable[[PlantedRewards], RewardTable],
) -> TrainingResult:
    train, valid = small_world.between(0, 250), small_world.between(250, 300)
    return PPOTrainer(small_config).fit(
        train.states, table_of(train), 1, valid.states, table_of(valid)
    )
