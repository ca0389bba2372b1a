"""What the guides show of programs works as they say, with parts that are at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from docs.test_documentation import fences
from langchain_core.messages import BaseMessage
from testing.answering import (
    blocks_of,
    make_catalog,
    make_components,
    make_session,
    prompts_of,
    ranking_with,
    task_of,
)

from agentrec.data import Dataset
from agentrec.graphs.preferences.reranking_graph import RerankingOutput
from agentrec.graphs.recommendation.ranking import rank
from agentrec.hints import Hint
from agentrec.policies.hint_policies.untrained import FixedHintPolicy
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

HINT = Hint(text="Prefer old films.")


def program(holding: str) -> dict[str, Any]:
    """The one program of the guides that holds a text, run."""
    (code,) = (code for _, code in fences("python") if holding in code)
    names: dict[str, Any] = {}
    exec(compile(code, "guide", "exec", dont_inherit=True), names)
    return names


async def test_hint_and_preference_are_in_one_prompt() -> None:
    def answer(messages: Sequence[BaseMessage]) -> str:
        if task_of(messages) == "preference":
            return "year: the seventies"
        if task_of(messages) == "factors":
            return "year\ntitle"
        assert {"hint", "preference"} <= set(blocks_of(messages))
        return ranking_with(messages, "Heat", 1)

    class Turning:
        async def rank(self, session: Session, text: str | None) -> tuple[str, ...]:
            assert text == "year: the seventies"
            return session.candidates[::-1]

    model = ScriptedChatModel([answer] * 3)
    components = make_components(model, hint_policy=FixedHintPolicy(HINT.hint_id))
    await components.hint_store.add(HINT, components.embeddings.embed_query(HINT.text))
    guide = program("def build_hint_and_preference_graph")
    graph, session = guide["build_hint_and_preference_graph"](), make_session(0)
    state = await guide["ranked"](graph, session, components, recommender=Turning())
    assert state["hint"] == HINT
    assert state["model_ranking"].item_ids[0] == session.target
    assert state["recommender_ranking"].item_ids == session.candidates[::-1]
    assert len(prompts_of(model, "rank")) == 1
    told = set(guide["HintAndPreference"].__annotations__)
    assert told - {"session", "hint"} <= set(RerankingOutput.__annotations__)


def chains() -> Dataset:
    """Whoever has seen a film sees the next one in the catalogue."""
    catalog = make_catalog()
    ids = catalog.item_ids
    sessions = [
        Session(
            session_id=f"s{start}-{copy}",
            items=tuple(ids[(start + step) % len(ids)] for step in range(3)),
            target=ids[(start + 3) % len(ids)],
            candidates=ids[:24] if (start + 3) % len(ids) < 24 else ids[2:],
        )
        for copy in range(4)
        for start in range(len(ids))
    ]
    return Dataset(
        "chains", catalog, tuple(sessions[26:]), tuple(sessions[:13]), tuple(sessions[13:26])
    )


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SequentialRecommender]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("run")
    program("def trained(dataset, folder)")["trained"](chains(), run / "backbone")
    yield program("def recommender_of(run")["recommender_of"](run)
    torch.set_num_threads(before)


async def test_a_history_becomes_candidates_and_a_ranking(
    recommender: SequentialRecommender,
) -> None:
    """The model names the candidate that came first; the rest is filled up in their order."""
    found = recommender.generate(Session(session_id="s", items=("i3", "i4", "i5")), 12)
    assert found[0] == "i6"
    labels = make_catalog().labels

    def answer(messages: Sequence[BaseMessage]) -> str:
        shown = dict(re.findall(r"^(C\d+) \| (.+)$", blocks_of(messages)["candidates"], re.M))
        assert set(shown.values()) == {labels[one] for one in found}
        (handle,) = [one for one, label in shown.items() if label == labels["i6"]]
        return f"1. {handle}"

    def gave_up(messages: Sequence[BaseMessage]) -> str:
        return "I know of no other."

    components = make_components(ScriptedChatModel([answer, gave_up]))
    guide = program("def recommender_of(run")
    ranking = await guide["recommended"](["i3", "i4", "i5"], recommender, components, count=12)
    assert ranking.item_ids == tuple(found[:10])
    assert ranking.backfilled == 9


async def test_a_recommender_fills_up_what_was_not_named(
    recommender: SequentialRecommender,
) -> None:
    components = make_components(ScriptedChatModel(["no idea"] * 2))
    filled = program("def with_base_ranker")["with_base_ranker"](components, recommender)
    session = make_session(3)
    ranking = await rank(session, None, filled)
    assert ranking.item_ids == recommender.rank(session)[:10]


def test_a_recommender_of_ones_own_is_found_again(
    recommender: SequentialRecommender, tmp_path: Path
) -> None:
    recommender.save(tmp_path / "backbone")
    again = program("def recommender_of(run")["recommender_of"](tmp_path)
    assert again.parameter_hash == recommender.parameter_hash
