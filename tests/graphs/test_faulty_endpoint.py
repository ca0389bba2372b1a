"""Five hundred sessions against an endpoint at which three calls in ten go wrong."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from testing.answering import DIMENSION, TitleEncoder

from agentrec.components import Components
from agentrec.data.dataset import Dataset
from agentrec.data.dataset_folder import load_folder
from agentrec.errors import FailureKind, ModelCallError
from agentrec.evaluation.answer_quality import measure_answer_quality
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.hint_policies.untrained import RandomHintPolicy
from agentrec.rankings import Ranking
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.testing.faulty_server import FAULTS, Fault, FaultPlan, FaultyServer
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.planted_sessions import write_planted_sessions
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSIONS = 500
# Short, but not so short that a busy machine misses it without any fault.
PATIENCE = 1.5
GRAPH = build_recommendation_graph()
_CANDIDATE = re.compile(r"^(C\d+ \| .+)$", re.MULTILINE)


def first_ten(messages: Sequence[BaseMessage]) -> list[str]:
    """The last ten candidates as shown, from the end: not what filling up would give."""
    shown = _CANDIDATE.findall("\n".join(message.text for message in messages[:2]))
    return shown[:-11:-1]


def in_lines(messages: Sequence[BaseMessage]) -> str:
    rows = [f"{n}. {row}" for n, row in enumerate(first_ten(messages), start=1)]
    return "\n".join(rows) or "Yes."


def in_json(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> str:
    if "ranking" in schema["properties"]:
        return json.dumps({"ranking": [row.split(" | ")[0] for row in first_ten(messages)]})
    return json.dumps(dict.fromkeys(schema["properties"], True))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("planted")
    write_planted_sessions(folder, num_train=SESSIONS, num_valid=1, num_test=1)
    return load_folder(folder)


async def components_for(server: OpenAIServer, dataset: Dataset, **options: Any) -> Components:
    chat = ChatOpenAI(
        model="local", base_url=server.base_url, api_key="unused", max_retries=0, timeout=PATIENCE
    )
    embeddings = HashedWordEmbeddings(DIMENSION)
    store = InMemoryHintStore(DIMENSION)
    for text in ("Prefer later years.", "Prefer earlier years.", "Prefer lamps."):
        await store.add(Hint(text=text), embeddings.embed_query(text))
    return Components(
        catalog=dataset.catalog,
        model=ModelGateway(
            chat,
            "local",
            # Two attempts, so that some sessions fail for good and are seen to.
            retries=RetryPolicy(max_attempts=2, first_wait=0.02, longest_wait=0.1),
            seed=0,
        ),
        prompts=Prompts.load(),
        embeddings=embeddings,
        encoder=TitleEncoder(dataset.catalog),
        hint_store=store,
        hint_policy=RandomHintPolicy(0),
        **options,
    )


@dataclass(frozen=True)
class Outcomes:
    rankings: list[Ranking]
    failures: list[ModelCallError]


async def recommended(sessions: Sequence[Session], components: Components) -> Outcomes:
    """Every session through the graph; anything but a ranking or a typed failure is raised."""

    async def one(session: Session) -> Ranking | ModelCallError:
        try:
            state = await GRAPH.ainvoke({"session": session}, context=components)
        except ModelCallError as error:
            return error
        ranking: Ranking = state["ranking"]
        assert ranking.session_id == session.session_id
        assert len(ranking.item_ids) == len(set(ranking.item_ids)) == components.list_length
        assert set(ranking.item_ids) <= set(session.candidates)
        return ranking

    ended = await asyncio.gather(*(one(session) for session in sessions))
    await components.model.aclose()
    return Outcomes(
        [each for each in ended if isinstance(each, Ranking)],
        [each for each in ended if isinstance(each, ModelCallError)],
    )


@pytest.mark.parametrize(("form", "count"), [("lines", SESSIONS), ("json", 150)])
async def test_every_session_ends_in_a_valid_ranking_or_a_typed_failure(
    dataset: Dataset, form: str, count: int
) -> None:
    model = ScriptedChatModel([in_lines] * 5_000)
    plan = FaultPlan(share=0.3, seed=1, retry_after=0.02, hang=2 * PATIENCE)
    write_json = in_json if form == "json" else None
    with FaultyServer(model, plan, write_json=write_json) as server:
        components = await components_for(server, dataset)
        ended = await recommended(dataset.train[:count], components)
        calls, faults = server.requests, server.faults
    quality = measure_answer_quality(ended.rankings, ended.failures)
    sys.stdout.write(f"{calls} calls, faults: {dict(faults)}\n{quality}\n")

    assert len(ended.rankings) + len(ended.failures) == count
    assert {failure.kind for failure in ended.failures} <= set(get_args(FailureKind))
    # Every way of failing was met, at the share that was asked for.
    assert set(faults) == set(FAULTS)
    assert 0.25 < sum(faults.values()) / calls < 0.35
    # A fault a call in five that can be made again, and again; anything else is repaired.
    assert 0.85 * count < len(ended.rankings) < count
    assert 0 < quality.repaired < 0.3 * count
    assert quality.clean > 0.5 * count
    assert quality.illegal > 0
    # What was good came through as it was, in the form in which it was given.
    shown_last = sum(ranking.backfilled == 0 for ranking in ended.rankings)
    assert shown_last > 0.8 * count
    assert (quality.structured > 0.7 * count) == (form == "json")


async def test_shuffles_lose_fewer_sessions_and_say_what_they_lost(dataset: Dataset) -> None:
    kinds: tuple[Fault, ...] = ("server_error", "cut_off", "garbage", "foreign")
    plan = FaultPlan(share=0.4, seed=2, kinds=kinds)
    sessions = dataset.train[:60]
    lost: dict[int, int] = {}
    for shuffles in (1, 3):
        model = ScriptedChatModel([in_lines] * 5_000)
        with FaultyServer(model, plan) as server:
            components = await components_for(server, dataset, shuffles=shuffles)
            ended = await recommended(sessions, components)
        lost[shuffles] = len(ended.failures)
        noted = Counter(note for ranking in ended.rankings for note in ranking.notes)
        assert bool(noted) == (shuffles > 1)
        assert all(
            re.match(r"[12] of [23] (requests failed|answers were lost)", note) for note in noted
        )
    assert lost[3] < lost[1]
