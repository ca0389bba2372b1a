"""Scoring, ranking, generating, and lying on disk."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.sessions import Session
from agentrec.testing.candidate_generator_conformance import CandidateGeneratorConformance


class TestEveryBackboneGenerates(CandidateGeneratorConformance):
    @pytest.fixture
    def generator(self, recommender: SequentialRecommender) -> SequentialRecommender:
        return recommender

    @pytest.fixture
    def item_ids(self, world: Dataset) -> Sequence[str]:
        return world.catalog.item_ids


def test_scores_and_vectors_are_of_the_catalogue(
    recommender: SequentialRecommender, world: Dataset
) -> None:
    scores = recommender.scores(world.test)
    assert scores.shape == (len(world.test), len(world.catalog))
    users = recommender.user_vectors(world.test)
    assert users.shape == (len(world.test), 16)
    torch.testing.assert_close(users @ recommender.item_vectors.T, scores, atol=1e-4, rtol=0)
    assert recommender.scores([]).shape == (0, len(world.catalog))
    assert recommender.user_vectors([]).shape == (0, 16)
    assert recommender.item_ids == world.catalog.item_ids
    assert recommender.popularity.shape == (len(world.catalog),)


def test_scores_need_no_gradient(recommender: SequentialRecommender, world: Dataset) -> None:
    assert not recommender.scores(world.test).requires_grad
    assert not any(each.requires_grad for each in recommender.backbone.parameters())


def test_many_sessions_score_as_few(recommender: SequentialRecommender, world: Dataset) -> None:
    many = (*world.train, *world.test)
    scores = recommender.scores(many)
    for at in (0, 255, 256, len(many) - 1):
        alone = recommender.scores([many[at]])[0]
        torch.testing.assert_close(alone, scores[at], atol=2e-4, rtol=0)


def test_only_the_last_items_are_read(recommender: SequentialRecommender, world: Dataset) -> None:
    ids = world.catalog.item_ids
    long = Session(session_id="s", items=ids + ids)
    cut = Session(session_id="s", items=(ids + ids)[-recommender.config.max_length :])
    assert torch.equal(recommender.scores([long]), recommender.scores([cut]))


def test_candidates_are_ranked_by_score(recommender: SequentialRecommender, world: Dataset) -> None:
    for session in world.test[:20]:
        (scores,) = recommender.scores([session])
        fits = [float(scores[world.catalog.index[each]]) for each in recommender.rank(session)]
        assert fits == sorted(fits, reverse=True)
        assert sorted(recommender.rank(session)) == sorted(session.candidates)


def test_neither_the_order_of_candidates_nor_the_target_matters(
    recommender: SequentialRecommender, world: Dataset
) -> None:
    lot = random.Random(0)
    for session in world.test[:20]:
        candidates = lot.sample(session.candidates, len(session.candidates))
        others = [
            session.model_copy(update={"candidates": tuple(candidates)}),
            session.model_copy(update={"target": None}),
            session.model_copy(update={"target": candidates[0]}),
        ]
        assert {recommender.rank(each) for each in others} == {recommender.rank(session)}


def test_unknown_candidates_come_last(recommender: SequentialRecommender) -> None:
    session = Session(session_id="s", items=("i1",), candidates=("new", "i3", "other", "i2"))
    ranking = recommender.rank(session)
    assert set(ranking[:2]) == {"i2", "i3"}
    assert set(ranking[2:]) == {"new", "other"}


def test_a_session_without_candidates_has_no_ranking(recommender: SequentialRecommender) -> None:
    assert recommender.rank(Session(session_id="s", items=("i1",))) == ()


def test_unknown_items_of_a_history_are_passed_over(recommender: SequentialRecommender) -> None:
    known = Session(session_id="s", items=("i1", "i2"))
    mixed = Session(session_id="s", items=("x", "i1", "y", "i2", "z"))
    assert torch.equal(recommender.scores([known]), recommender.scores([mixed]))


def test_who_has_no_known_item_gets_what_is_popular(recommender: SequentialRecommender) -> None:
    stranger = Session(session_id="s", items=("x",), candidates=recommender.item_ids[:9])
    counts = dict(zip(recommender.item_ids, recommender.log_counts.tolist(), strict=True))
    for found in (recommender.rank(stranger), recommender.generate(stranger, 9)):
        popularity = [counts[each] for each in found]
        assert popularity == sorted(popularity, reverse=True)
    assert not recommender.user_vectors([stranger]).any()


def test_generate_is_generate_many_of_one(
    recommender: SequentialRecommender, world: Dataset
) -> None:
    session = world.test[0]
    assert tuple(recommender.generate(session, 5)) == recommender.generate_many([session], 5)[0]


def test_a_saved_recommender_is_the_same(
    recommender: SequentialRecommender, world: Dataset, tmp_path: Path
) -> None:
    recommender.save(tmp_path)
    loaded = SequentialRecommender.load(tmp_path)
    assert loaded.parameter_hash == recommender.parameter_hash
    assert loaded.item_ids == recommender.item_ids
    assert (loaded.config, loaded.seed) == (recommender.config, recommender.seed)
    assert (loaded.backbone_kind, loaded.curve) == (recommender.backbone_kind, recommender.curve)
    assert torch.equal(loaded.scores(world.test), recommender.scores(world.test))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def description(folder: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = json.loads((folder / "policy.json").read_text())
    return content


def test_broken_files_are_told_in_one_line(
    recommender: SequentialRecommender, tmp_path: Path
) -> None:
    recommender.save(tmp_path)
    good = description(tmp_path)
    ids = list(recommender.item_ids)
    changes: list[tuple[dict[str, object], str]] = [
        ({"item_ids": ids[:-1]}, "has shape"),
        ({"item_ids": [*ids[:-1], ids[0]]}, "an item is named twice"),
        ({"item_ids": []}, "at least 1 item"),
        ({"backbone": "bert4rec"}, "'sasrec' or 'gru4rec'"),
        ({"config": {**recommender.config.model_dump(), "dim": 8}}, "has shape"),
        ({"config": {**recommender.config.model_dump(), "layers": 2}}, "is missing"),
        ({"config": {"dims": 8}}, "Extra inputs are not permitted"),
    ]
    for change, complaint in changes:
        broken = {**good, "description": good["description"] | change}
        (tmp_path / "policy.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=complaint) as raised:
            SequentialRecommender.load(tmp_path)
        assert "\n" not in str(raised.value)
    (tmp_path / "policy.json").write_text(json.dumps({**good, "kind": "ppo"}))
    with pytest.raises(InputError, match="is 'ppo', not 'sequential_recommender'"):
        SequentialRecommender.load(tmp_path)
