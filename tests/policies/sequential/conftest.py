from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from agentrec.catalog import Catalog, Item
from agentrec.data import Dataset
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.sessions import Session

KINDS: tuple[BackboneKind, ...] = ("sasrec", "gru4rec")

NUM_ITEMS = 40
LENGTH = 6
CANDIDATES = 20


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> BackboneKind:
    kind: BackboneKind = request.param
    return kind


@pytest.fixture(scope="session")
def quick() -> BackboneConfig:
    return BackboneConfig(
        dim=16, layers=1, dropout=0.1, epochs=14, patience=4, learning_rate=0.03, batch_size=64
    )


@pytest.fixture(scope="session")
def chains() -> Callable[[float], Dataset]:
    return planted_chains


@pytest.fixture(scope="session")
def world() -> Dataset:
    return planted_chains(predictability=0.8)


@pytest.fixture(scope="session")
def trained(world: Dataset, quick: BackboneConfig) -> dict[BackboneKind, SequentialRecommender]:
    return {
        kind: BackboneTrainer(kind, quick).fit(world.train, world.valid, world.catalog, seed=1)
        for kind in KINDS
    }


@pytest.fixture
def recommender(
    kind: BackboneKind, trained: dict[BackboneKind, SequentialRecommender]
) -> SequentialRecommender:
    return trained[kind]


def planted_chains(predictability: float) -> Dataset:
    """With that probability the next item is the successor of the last, else a famous one.

    Fame falls with the item's number, whatever came before, so that popularity knows something.
    """
    lot = np.random.default_rng(0)
    item_ids = [f"i{number}" for number in range(NUM_ITEMS)]
    successor = lot.permutation(NUM_ITEMS)
    fame = 1 / np.arange(3, 3 + NUM_ITEMS)
    fame /= fame.sum()

    def session(session_id: str) -> Session:
        sequence = [int(lot.choice(NUM_ITEMS, p=fame))]
        while len(sequence) <= LENGTH:
            follows = lot.random() < predictability
            drawn = lot.choice(NUM_ITEMS, p=fame)
            sequence.append(int(successor[sequence[-1]] if follows else drawn))
        *items, target = sequence
        others = lot.permutation([at for at in range(NUM_ITEMS) if at != target])
        candidates = sorted([target, *others[: CANDIDATES - 1].tolist()])
        return Session(
            session_id=session_id,
            items=tuple(item_ids[at] for at in items),
            target=item_ids[target],
            candidates=tuple(item_ids[at] for at in candidates),
        )

    return Dataset(
        "chains",
        Catalog(Item(item_id=each, title=f"Item {each}") for each in item_ids),
        *(
            tuple(session(f"{split}-{number}") for number in range(count))
            for split, count in (("train", 300), ("valid", 60), ("test", 120))
        ),
    )
