"""Ranks of targets under texts, as rewards count them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from agentrec.app.reranking import target_ranks
from agentrec.policies.reward_model.augmented import AugmentedRecommender
from agentrec.sessions import Session

ITEMS = ("a", "b", "c", "d", "e")


class Backbone:
    """Likes every session's items alike: a most, the last three equally little."""

    item_ids = ITEMS

    def scores(self, sessions: Sequence[Session]) -> torch.Tensor:
        return torch.tensor([[3.0, 2.0, 1.0, 1.0, 1.0]]).repeat(len(sessions), 1)


class Told:
    """A text's vector is what it adds to every item."""

    recommender = Backbone()

    def moves(self, vectors: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(vectors)


def ranks(targets: str, *moves: Sequence[float]) -> list[int | None]:
    sessions = [
        Session(session_id=f"s{n}", items=("a",), target=target, candidates=("e", "d", "b", target))
        if target not in "edb"
        else Session(session_id=f"s{n}", items=("a",), target=target, candidates=("e", "d", "b"))
        for n, target in enumerate(targets)
    ]
    recommender = cast("AugmentedRecommender", Told())
    return target_ranks(recommender, sessions, np.array(moves, dtype=np.float32))


def test_targets_are_ranked_among_their_candidates_with_what_texts_add() -> None:
    nothing, praise = [0.0] * 5, [0.0, 0.0, 0.0, 5.0, 0.0]
    assert ranks("abd", nothing, nothing, praise) == [1, 1, 1]
    assert ranks("ab", praise, praise) == [2, 2]


def test_of_equals_the_target_comes_last() -> None:
    nothing = [0.0] * 5
    assert ranks("cde", nothing, nothing, nothing) == [4, 3, 3]
    assert ranks("c", [0.0, 0.0, 0.00001, 0.0, 0.0]) == [4]
