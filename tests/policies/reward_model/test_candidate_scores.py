"""Places and probabilities of several relevant items, beside a plain computation of the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrec.continuations import Continuation
from agentrec.policies.reward_model.candidate_scores import CandidateScores
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.sessions import Session

ITEMS = tuple("abcdefgh")
UNKNOWN = "z"
Scores = dict[str, float]


class Backbone:
    """Says of a session what stands in a table."""

    item_ids = ITEMS

    def __init__(self, table: Sequence[Scores]) -> None:
        self._table = table

    def scores(self, sessions: Sequence[Session]) -> torch.Tensor:
        rows = [self._table[int(one.session_id)] for one in sessions]
        return torch.tensor([[row[item] for item in ITEMS] for row in rows]).reshape(-1, len(ITEMS))


def candidate_scores(table: Sequence[Scores], judged: Sequence[Continuation]) -> CandidateScores:
    recommender = cast("SequentialRecommender", Backbone(table))
    return CandidateScores.of_continuations(recommender, judged)


def continuation(number: int, relevant: Sequence[str], candidates: Sequence[str]) -> Continuation:
    session = Session(
        session_id=str(number), items=("a",), target=relevant[0], candidates=tuple(candidates)
    )
    return Continuation(session, tuple(relevant))


def text_scores_of(table: Sequence[Scores]) -> torch.Tensor:
    return torch.tensor([[row[item] for item in ITEMS] for row in table]).reshape(-1, len(ITEMS))


def plain_ranks(scores: Scores, one: Continuation) -> list[int]:
    """Sort the candidates: better first, of equals what is not relevant, then the target last."""

    def key(item: str) -> tuple[float, int]:
        at = one.relevant.index(item) if item in one.relevant else len(ITEMS)
        return -scores[item], -at

    order = sorted((item for item in one.session.candidates if item in scores), key=key)
    return [order.index(item) + 1 for item in one.relevant]


def plain_log_probability(scores: Scores, one: Continuation, temperature: float) -> float:
    known = [scores[item] / temperature for item in one.session.candidates if item in scores]
    total = math.log(sum(map(math.exp, known)))
    return sum(scores[item] / temperature - total for item in one.relevant) / len(one.relevant)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Scores], list[Scores], list[Continuation]]:
    """Sessions of different width, many equal scores, some candidates that nobody knows."""
    # Quarters are exact, so that equals are equal however they are summed.
    scores = st.fixed_dictionaries(
        {item: st.integers(-8, 8).map(lambda n: n / 4) for item in ITEMS}
    )
    count = draw(st.integers(1, 4))
    judged = []
    for number in range(count):
        candidates = draw(st.lists(st.sampled_from(ITEMS), min_size=1, unique=True))
        size = draw(st.integers(1, len(candidates)))
        relevant = draw(st.permutations(candidates))[:size]
        unknown = [UNKNOWN] * draw(st.integers(0, 1))
        judged.append(continuation(number, relevant, [*unknown, *candidates]))
    rows = st.lists(scores, min_size=count, max_size=count)
    return draw(rows), draw(rows), judged


@settings(deadline=None)
@given(worlds(), st.sampled_from([0.5, 1.0, 2.8]))
def test_ranks_and_probabilities_are_the_plain_ones(
    world: tuple[list[Scores], list[Scores], list[Continuation]], temperature: float
) -> None:
    table, added, judged = world
    scored, texts = candidate_scores(table, judged), text_scores_of(added)
    ranks = scored.relevant_ranks(texts)
    found = scored.log_probabilities(texts, temperature).tolist()
    again = scored.selected_log_probabilities(scored.select(texts), temperature).tolist()
    target_ranks = scored.target_ranks(texts).tolist()
    assert found == again
    for number, one in enumerate(judged):
        scores = {item: table[number][item] + added[number][item] for item in ITEMS}
        assert ranks[number] == plain_ranks(scores, one)
        assert len(set(ranks[number])) == len(one.relevant)
        assert found[number] == pytest.approx(
            plain_log_probability(scores, one, temperature), abs=1e-4
        )
        # Alone it is ranked behind everything else that is worth the same.
        assert target_ranks[number] == sum(
            scores[item] >= scores[one.relevant[0]]
            for item in one.session.candidates
            if item in scores
        )


def test_of_equals_what_is_not_relevant_comes_first_and_the_target_last() -> None:
    flat = dict.fromkeys(ITEMS, 0.0)
    judged = [
        continuation(0, "bcd", "abcde"),
        continuation(1, "h", "gh"),
        continuation(2, "a", "a"),
    ]
    scored = candidate_scores([flat] * 3, judged)
    assert scored.relevant_ranks(torch.zeros(3, len(ITEMS))) == [[5, 4, 3], [2], [1]]
    # What is equal up to the last bits is equal.
    nearly = torch.zeros(3, len(ITEMS))
    nearly[0, 1] = 1e-6
    assert scored.relevant_ranks(nearly)[0] == [5, 4, 3]
    nearly[0, 1] = 1e-3
    assert scored.relevant_ranks(nearly)[0] == [1, 5, 4]


def test_probabilities_by_hand() -> None:
    scores = dict.fromkeys(ITEMS, 0.0) | {"b": 1.0, "c": 2.0}
    scored = candidate_scores([scores], [continuation(0, "bc", "abc")])
    total = math.log(1 + math.e + math.e**2)
    nothing = torch.zeros(1, len(ITEMS))
    assert scored.log_probabilities(nothing).tolist() == pytest.approx([1.5 - total], abs=1e-4)
    # Others than candidates may be praised as they like.
    nothing[0, ITEMS.index("h")] = 9
    assert scored.log_probabilities(nothing).tolist() == pytest.approx([1.5 - total], abs=1e-4)


def test_a_target_alone_is_one_relevant_item() -> None:
    scores: list[Scores] = [
        {item: (n * 7 + row) % 5 / 2 for n, item in enumerate(ITEMS)} for row in range(3)
    ]
    judged = [continuation(n, "c", "abcdef"[: 3 + n]) for n in range(3)]
    recommender = cast("SequentialRecommender", Backbone(scores))
    whole = CandidateScores.of(recommender, [one.session for one in judged])
    added = text_scores_of(scores[::-1])
    assert [[rank] for rank in whole.target_ranks(added).tolist()] == whole.relevant_ranks(added)
    assert whole.relevant_ranks(added) == candidate_scores(scores, judged).relevant_ranks(added)


def test_rows_are_sessions_with_their_own_relevant_items() -> None:
    scores: list[Scores] = [
        {item: (n * 3 + row) % 7 / 2 for n, item in enumerate(ITEMS)} for row in range(3)
    ]
    judged = [
        continuation(0, "ab", "abcdefgh"),
        continuation(1, "c", "bc"),
        continuation(2, "hfg", "defgh"),
    ]
    scored = candidate_scores(scores, judged)
    order = [2, 0, 2, 1]
    added = text_scores_of(scores[::-1])
    some = scored.rows(torch.tensor(order))
    assert some.relevant_ranks(added[order]) == [scored.relevant_ranks(added)[row] for row in order]
    logs = scored.log_probabilities(added)
    assert torch.allclose(some.log_probabilities(added[order]), logs[order])


def test_no_sessions_have_no_places() -> None:
    scored = candidate_scores([], [])
    assert scored.relevant_ranks(torch.zeros(0, len(ITEMS))) == []
    assert scored.log_probabilities(torch.zeros(0, len(ITEMS))).shape == (0,)


@pytest.mark.parametrize(
    "wrong",
    [
        continuation(0, "bz", "abz"),
        Continuation(Session(session_id="0", items=("a",), target="b"), ("b",)),
    ],
)
def test_what_nobody_knows_is_refused(wrong: Continuation) -> None:
    with pytest.raises(ValueError, match="'0' needs candidates and a target of the catalogue"):
        candidate_scores([dict.fromkeys(ITEMS, 0.0)], [wrong])
