"""From what was found to what is offered, one session at a time and many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from testing.answering import DIMENSION, make_catalog, make_components, make_session, targets_of
from testing.answering import world as answering

from agentrec.components import Components
from agentrec.graphs.recommendation.build_offer import build_offer, choose_for
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.hint_offers import HintChoices, HintOffer, choose_best
from agentrec.hints import Hint, ScoredHint
from agentrec.testing.scripted_chat_model import ScriptedChatModel

A, B, C = (Hint(text=text) for text in ("Prefer a.", "Prefer b.", "Prefer c."))
STATES = np.arange(6, dtype=np.float32).reshape(3, 2)
SESSIONS = [make_session(number) for number in range(9)]


def found(hint: Hint, similarity: float, *vector: float) -> ScoredHint:
    return ScoredHint(hint=hint, similarity=similarity, vector=vector)


class Nearest:
    """Chooses the nearest hint, and counts how often it is asked."""

    def __init__(self) -> None:
        self.offers: list[HintOffer] = []

    def choose(self, offer: HintOffer) -> HintChoices:
        self.offers.append(offer)
        none = np.zeros((len(offer), 1), dtype=np.float32)
        return choose_best(offer, np.concatenate([none, 2 + offer.similarities], axis=1))


async def with_hints(model: ScriptedChatModel, **changes: Any) -> Components:
    components = make_components(model, **changes)
    for title in ("Heat", "Alien", "Dune", "Fargo", "Hamlet"):
        hint = Hint(text=f"Prefer what is like {title}.")
        await components.hint_store.add(hint, components.embeddings.embed_query(title))
    return components


def test_an_offer_of_three_lists_by_hand() -> None:
    lists = [
        [found(B, 0.9, 0.0, 1.0), found(A, 0.5, 1.0, 0.0)],
        [],
        [found(A, 0.7, 1.0, 0.0), found(C, 0.2, 0.6, 0.8), found(B, -0.1, 0.0, 1.0)],
    ]
    offer = build_offer(STATES, lists)
    assert offer.hints == (B, A, C)
    assert offer.vectors.tolist() == pytest.approx(np.array([[0, 1], [1, 0], [0.6, 0.8]]))
    assert offer.candidates.tolist() == [[0, 1, -1], [-1, -1, -1], [1, 2, 0]]
    assert offer.similarities == pytest.approx(
        np.array([[0.9, 0.5, 0], [0, 0, 0], [0.7, 0.2, -0.1]])
    )
    assert offer.states is STATES
    assert offer.vectors.dtype == offer.similarities.dtype == np.float32


def test_nothing_found_is_an_offer_of_no_hint() -> None:
    offer = build_offer(STATES, [[], [], []], dimension=7)
    assert (offer.hints, offer.candidates.shape, offer.vectors.shape) == ((), (3, 0), (0, 7))
    assert len(build_offer(STATES[:0], [])) == 0


def test_vectors_that_a_store_does_not_tell_are_zeros() -> None:
    offer = build_offer(STATES[:1], [[found(A, 0.5), found(B, 0.4, 0.6, 0.8)]])
    assert offer.vectors == pytest.approx(np.array([[0, 0], [0.6, 0.8]]))
    assert build_offer(STATES[:1], [[found(A, 0.5)]], dimension=3).vectors.tolist() == [[0, 0, 0]]


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="3 sessions need as many lists of hints, not 2"):
        build_offer(STATES, [[], []])
    with pytest.raises(ValueError, match="vectors have"):
        build_offer(STATES[:1], [[found(A, 0.5, 1.0), found(B, 0.4, 0.6, 0.8)]])


async def test_choosing_for_many_is_what_the_graph_chooses_for_each() -> None:
    model = ScriptedChatModel(
        [answering(lambda *_: 1, targets_of(SESSIONS, make_catalog()))] * len(SESSIONS)
    )
    policy = Nearest()
    components = await with_hints(model, hint_policy=policy, hints_offered=3)
    with blockbuster_ctx():
        choices = await choose_for(SESSIONS, components)
    assert len(policy.offers) == 1
    graph = build_recommendation_graph()
    for row, session in enumerate(SESSIONS):
        state = await graph.ainvoke({"session": session}, context=components)
        assert state["choice"].hint_id == choices.hint_ids[row]
        assert state["scores"] == pytest.approx(choices.scores_of(row), abs=2e-6)
    assert len(set(choices.hint_ids)) > 1


async def test_many_are_one_call_of_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    components = await with_hints(ScriptedChatModel([]), hint_policy=Nearest())
    called: list[tuple[str, int]] = []
    for owner, name in ((components.hint_store, "search_many"), (components.encoder, "states")):
        original = getattr(owner, name)

        def noting(many: Sequence[Any], *rest: Any, name: str = name, call: Any = original) -> Any:
            called.append((name, len(many)))
            return call(many, *rest)

        monkeypatch.setattr(owner, name, noting)
    await choose_for(SESSIONS, components)
    assert sorted(called) == [("search_many", 9), ("states", 9)]


async def test_no_session_is_no_choice() -> None:
    components = await with_hints(ScriptedChatModel([]), hint_policy=Nearest())
    choices = await choose_for([], components)
    assert (len(choices), choices.offer.states.shape) == (0, (0, DIMENSION))
