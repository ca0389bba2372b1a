"""Ranks of what is relevant under texts, as rewards count them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from agentrec.app.preferences.reranking import SessionTexts, ranks_with_texts
from agentrec.continuations import Continuation, Relevant, continuation_of
from agentrec.policies.reward_model.augmented_recommender import AugmentedRecommender
from agentrec.sessions import Session

ITEMS = ("a", "b", "c", "d", "e")


class Backbone:
    """Likes every session's items alike: a most, the last three equally little."""

    item_ids = ITEMS

    def scores(self, sessions: Sequence[Session]) -> torch.Tensor:
        return torch.tensor([[3.0, 2.0, 1.0, 1.0, 1.0]]).repeat(len(sessions), 1)


class AddingRecommender:
    """A text's vector is what it adds to every item."""

    recommender = Backbone()

    def text_scores(self, vectors: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(vectors)


def ranks_of(judged: Sequence[Continuation], *moves: Sequence[float]) -> list[list[int]]:
    recommender = cast("AugmentedRecommender", AddingRecommender())
    return ranks_with_texts(recommender, judged, np.array(moves, dtype=np.float32))


def of_targets(targets: str) -> list[Continuation]:
    """Sessions of which the target alone is relevant."""
    return [
        judged(target, "a", "edb" if target in "edb" else f"edb{target}", 1.0, "target")
        for target in targets
    ]


def judged(
    target: str, items: str, candidates: str, share: float, relevant: Relevant
) -> Continuation:
    session = Session(
        session_id="s", items=tuple(items), target=target, candidates=tuple(candidates)
    )
    return continuation_of(session, share, relevant)


NOTHING = [0.0] * 5
PRAISE = [0.0, 0.0, 0.0, 5.0, 0.0]


def test_targets_are_ranked_among_their_candidates_with_what_texts_add() -> None:
    assert ranks_of(of_targets("abd"), NOTHING, NOTHING, PRAISE) == [[1], [1], [1]]
    assert ranks_of(of_targets("ab"), PRAISE, PRAISE) == [[2], [2]]


def test_of_equals_the_target_comes_last() -> None:
    assert ranks_of(of_targets("cde"), NOTHING, NOTHING, NOTHING) == [[4], [3], [3]]
    assert ranks_of(of_targets("c"), [0.0, 0.0, 0.00001, 0.0, 0.0]) == [[4]]


def test_all_that_came_after_a_text_has_its_place() -> None:
    # Shown is b; c and d came after it, then the target.
    rest = judged("a", "bcd", "ae", 0.4, "rest")
    assert ranks_of([rest, rest], NOTHING, PRAISE) == [[1, 4, 3], [2, 4, 1]]


def test_foreign_texts_are_those_of_others_each_once() -> None:
    whole = [None, *(f"text {n}" for n in range(20))]
    texts = SessionTexts(whole, [f"first {one}" for one in whole])
    for seed in range(5):
        foreign = texts.foreign(seed)
        assert sorted(foreign.whole, key=str) == sorted(whole, key=str)
        assert not [one for one, other in zip(whole, foreign.whole, strict=True) if one == other]
        assert foreign.first == [f"first {one}" for one in foreign.whole]
        assert texts.foreign(seed) == foreign
    assert texts.foreign(0) != texts.foreign(1)
