"""The reward model learns from texts that say something, and nothing from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrec.catalog import Catalog, Item
from agentrec.contracts import RewardModel
from agentrec.evaluation.metrics import ranking_value
from agentrec.policies.reward_model.augmented_recommender import AugmentedRecommender
from agentrec.policies.reward_model.config import AdapterKind, RewardModelConfig
from agentrec.policies.reward_model.knowledge_reward_model import KnowledgeRewardModel
from agentrec.policies.reward_model.training import RewardModelTrainer
from agentrec.policies.sequential.config import BackboneConfig
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session

TASTES = ("war", "love", "music", "crime")
NUM_ITEMS = 40
EMBEDDINGS = HashedWordEmbeddings(32)
QUICK = RewardModelConfig(
    # Of histories that show no taste there is nothing to learn.
    shown_weight=0.0,
    epochs=30,
    patience=8,
    learning_rate=0.01,
    batch_size=64,
    dropout=0.1,
)


def text_of(taste: int) -> str:
    return f"genre: {TASTES[taste]}"


@dataclass(frozen=True)
class World:
    """Histories that show no taste, targets that follow it, and texts that name it."""

    catalog: Catalog
    train: list[Session]
    valid: list[Session]
    test: list[Session]
    tastes: dict[str, int]

    @property
    def known(self) -> np.ndarray:
        """Which taste each item is for."""
        return np.eye(4, dtype=np.float32)[np.arange(NUM_ITEMS) % 4]

    def vectors(self, sessions: Sequence[Session], shift: int = 0) -> np.ndarray:
        texts = [text_of((self.tastes[each.session_id] + shift) % 4) for each in sessions]
        return np.array(EMBEDDINGS.embed_documents(texts), dtype=np.float32)


@pytest.fixture(scope="module")
def world() -> World:
    lot = np.random.default_rng(0)
    ids = [f"i{number}" for number in range(NUM_ITEMS)]
    tastes: dict[str, int] = {}

    def sessions(name: str, count: int) -> list[Session]:
        made = []
        for number in range(count):
            taste = int(lot.integers(4))
            target = int(lot.choice(np.arange(taste, NUM_ITEMS, 4)))
            others = [place for place in lot.permutation(NUM_ITEMS).tolist() if place != target]
            session_id = f"{name}-{number}"
            tastes[session_id] = taste
            made.append(
                Session(
                    session_id=session_id,
                    items=tuple(ids[place] for place in others[:4]),
                    target=ids[target],
                    candidates=tuple(ids[place] for place in (*others[4:23], target)),
                )
            )
        return made

    catalog = Catalog(Item(item_id=one, title=f"Film {one}") for one in ids)
    parts = {name: sessions(name, count) for name, count in SIZES.items()}
    return World(catalog, parts["train"], parts["valid"], parts["test"], tastes)


SIZES = {"train": 300, "valid": 80, "test": 120}


@pytest.fixture(scope="module")
def backbone(world: World) -> SequentialRecommender:
    config = BackboneConfig(dim=16, layers=1, epochs=2, learning_rate=0.01)
    return BackboneTrainer("gru4rec", config).fit(world.train, world.valid, world.catalog)


Fit = Callable[..., AugmentedRecommender]


@pytest.fixture(scope="module")
def fit(world: World, backbone: SequentialRecommender) -> Fit:
    def made(
        adapter: AdapterKind = "mlp", seed: int = 0, **changes: object
    ) -> AugmentedRecommender:
        given: dict[str, object] = {"vectors": world.vectors(world.train), **changes}
        config = QUICK.model_copy(update={"adapter": adapter})
        return RewardModelTrainer(config).fit(
            backbone,
            world.train,
            given["vectors"],  # type: ignore[arg-type]
            world.valid,
            world.vectors(world.valid),
            item_vectors=world.known,
            shown_share=1.0,
            seed=seed,
        )

    return made


@pytest.fixture(scope="module")
def trained(fit: Fit) -> dict[AdapterKind, AugmentedRecommender]:
    return {"mlp": fit("mlp"), "mixture": fit("mixture")}


@pytest.mark.parametrize("kind", ["mlp", "mixture"])
async def test_a_sessions_own_text_is_worth_more_than_a_foreign_one(
    kind: AdapterKind, world: World, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    model: RewardModel = KnowledgeRewardModel(trained[kind], EMBEDDINGS)
    texts = [[text_of((world.tastes[s.session_id] + n) % 4) for n in range(3)] for s in world.test]
    rewards = await model.score(world.test, texts)
    own = np.array([[one.order for one in each] for each in rewards])
    assert (own[:, 0, 1] > own[:, 1, 1]).mean() > 0.9
    assert own[:, 0, 0].mean() > own[:, 1:, 0].mean() + 0.1
    assert own[:, 0, 1].mean() > 0.3


async def test_texts_that_say_nothing_are_worth_nothing(world: World, fit: Fit) -> None:
    lot = np.random.default_rng(1)
    foreign = world.vectors(world.train)[lot.permutation(len(world.train))]
    model = KnowledgeRewardModel(fit(vectors=foreign), EMBEDDINGS)
    rewards = await model.score(
        world.test, [[text_of(world.tastes[each.session_id]), ""] for each in world.test]
    )
    told = np.array([each[0].value - each[1].value for each in rewards])
    error = told.std(ddof=1) / len(told) ** 0.5
    assert abs(told.mean()) < 3 * error + 0.02
    assert all(each[1].margin == 0 for each in rewards)


async def test_a_reward_does_not_depend_on_the_other_texts(
    world: World, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    model = KnowledgeRewardModel(trained["mlp"], EMBEDDINGS)
    texts = [text_of(0), text_of(1), "", text_of(0)]
    many = await model.score(world.test[:5], [texts, [], texts[:1], texts, texts[::-1]])
    assert [len(each) for each in many] == [4, 0, 1, 4, 4]
    assert many[0][0] == many[0][3]
    for session, own in zip(world.test[:5], many, strict=True):
        alone = await model.score([session], [texts])
        for reward in own:
            near = [abs(reward.margin - one.margin) for one in alone[0]]
            assert min(near) < 1e-3
    assert await model.score([], []) == []


async def test_every_text_is_encoded_once(
    world: World, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    class Counting(HashedWordEmbeddings):
        asked = 0

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            Counting.asked += len(texts)
            return super().embed_documents(texts)

    model = KnowledgeRewardModel(trained["mlp"], Counting(32))
    for _ in range(2):
        await model.score(world.test, [[text_of(0), text_of(1)]] * len(world.test))
    assert Counting.asked == 2


@pytest.mark.parametrize("kind", ["mlp", "mixture"])
def test_a_saved_model_scores_the_same(
    kind: AdapterKind,
    world: World,
    trained: dict[AdapterKind, AugmentedRecommender],
    tmp_path: Path,
) -> None:
    model = trained[kind]
    model.save(tmp_path)
    again = AugmentedRecommender.load(tmp_path)
    assert again.parameter_hash == model.parameter_hash
    vectors = world.vectors(world.test)
    assert torch.equal(again.scores(world.test, vectors), model.scores(world.test, vectors))
    assert again.curve == model.curve


def test_the_same_seed_gives_the_same_model(
    fit: Fit, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    assert fit("mlp").parameter_hash == trained["mlp"].parameter_hash
    assert fit("mlp", seed=1).parameter_hash != trained["mlp"].parameter_hash
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_a_text_the_backbone_is_left_as_it_is(
    world: World, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    model = trained["mixture"]
    nothing = np.zeros((len(world.test), 32), dtype=np.float32)
    told = model.scores(world.test, nothing)
    assert torch.equal(told, model.recommender.scores(world.test))


async def test_what_cannot_be_scored_is_refused(
    world: World, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    model = KnowledgeRewardModel(trained["mlp"], EMBEDDINGS)
    with pytest.raises(ValueError, match="as many lists"):
        await model.score(world.test[:2], [["a"]])
    for change in ({"target": None}, {"candidates": ()}):
        with pytest.raises(ValueError, match="needs candidates and a target"):
            await model.score([world.test[0].model_copy(update=change)], [["a"]])


async def test_all_that_came_after_the_text_may_count(
    world: World, trained: dict[AdapterKind, AugmentedRecommender]
) -> None:
    recommender = trained["mlp"]
    model = KnowledgeRewardModel(recommender, EMBEDDINGS, relevant="rest", shown_share=0.5)
    alone = KnowledgeRewardModel(recommender, EMBEDDINGS)
    differ = 0
    # One at a time: sums come out a little different in another batch, and near ties either way.
    for session in world.test[:30]:
        text = text_of(world.tastes[session.session_id])
        [[reward, nothing]] = await model.score([session], [[text, ""]])
        # The history ends with its first half; its second half is to be found as well.
        shown = session.model_copy(update={"items": session.items[:2]})
        scores = recommender.scores([shown], world.vectors([session]))[0].tolist()
        told = dict(zip(recommender.item_ids, scores, strict=True))
        wanted = [str(session.target), *session.items[2:]]
        order = sorted({*session.candidates, *wanted}, key=lambda one: (-told[one], one in wanted))
        assert reward.value == ranking_value([order.index(one) + 1 for one in wanted], 10)
        assert nothing.margin == 0
        differ += (await alone.score([session], [[text]]))[0][0].value != reward.value
    assert differ > 20


def test_the_hash_says_what_a_text_is_to_find(
    trained: dict[AdapterKind, AugmentedRecommender],
) -> None:
    def hashed(kind: AdapterKind = "mlp", **given: object) -> str:
        return KnowledgeRewardModel(trained[kind], EMBEDDINGS, **given).parameter_hash  # type: ignore[arg-type]

    found = [
        hashed(),
        hashed("mixture"),
        hashed(relevant="rest"),
        hashed(relevant="rest", shown_share=0.7),
        hashed(relevant="rest", shown_share=0.5),
    ]
    assert len(set(found)) == len(found)
    assert hashed(relevant="target", shown_share=1.0) == found[0]


def test_values_are_the_mean_of_ndcg_and_map() -> None:
    assert ranking_value([2], 10) == pytest.approx((1 / np.log2(3) + 0.5) / 2)
    assert ranking_value([10], 10) > 0 == ranking_value([11], 10)
