"""The front door: a recommender from components of one's choice, without a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from testing.qdrant_http_front import qdrant_http_front

import agentrec
from agentrec.errors import InputError
from agentrec.named_components import name_embeddings, name_model
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

COLOURS = ("red", "blue", "green", "white")
MUGS = [
    agentrec.Item(
        item_id=str(n),
        title=f"{COLOURS[n % 4]} mug number {n}",
        attributes={"colour": COLOURS[n % 4], "size": 20 + n % 7},
    )
    for n in range(40)
]
SESSIONS = [
    {"session_id": f"s{n}", "items": [str(n), str(n + 5)], "candidates": [str(c) for c in near]}
    for n, near in enumerate([range(12, 32), range(10, 30), range(15, 40)])
]
FAST = {"lm_steps": 40}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # One for all tests of this process: the model is taught once.
    monkeypatch.setenv("AGENTREC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, rows in (
        ("items.jsonl", [{"item_id": i.item_id, "title": i.title, **i.attributes} for i in MUGS]),
        ("today.jsonl", SESSIONS),
    ):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def first(messages: list[BaseMessage]) -> str:
    """Rank the candidates as they are shown."""
    handles = [f"C{n}" for n in range(1, 11)]
    return "\n".join(f"{place}. {handle}" for place, handle in enumerate(handles, 1))


async def test_ten_lines_recommend_from_a_folder_of_items(shop: Path) -> None:
    async with agentrec.open_recommender(
        catalog=shop,
        llm="embedded",
        embeddings="hashed",
        hints=":memory:",
        policy="nearest",
        settings=FAST,
    ) as recommender:
        session = next(agentrec.read_sessions(shop / "today.jsonl"))
        ranking = await recommender.recommend(session)
        results = [
            r async for r in recommender.stream(agentrec.read_sessions(shop / "today.jsonl"))
        ]
    assert len(ranking.item_ids) == 10
    assert set(ranking.item_ids) <= set(session.candidates)
    assert sorted(result.session.session_id for result in results) == ["s0", "s1", "s2"]
    assert ranking in [result.ranking for result in results]


async def test_the_same_with_hints_on_a_qdrant_server(shop: Path) -> None:
    today = shop / "today.jsonl"
    with qdrant_http_front() as front:
        for _ in range(2):
            async with agentrec.open_recommender(
                catalog=shop,
                llm="embedded",
                embeddings="hashed",
                hints=front.url,
                policy="nearest",
                settings=FAST,
            ) as recommender:
                hint = agentrec.Hint(text="Prefer colour green.")
                vector = recommender.components.embeddings.embed_query(hint.text)
                await recommender.components.hint_store.add(hint, vector)
                rankings = await recommender.recommend_many(agentrec.read_sessions(today))
                assert len(await recommender.components.hint_store.all()) == 1
    assert {ranking.hint_id for ranking in rankings} == {hint.hint_id}


async def test_any_chat_model_and_a_journal_that_pays_once(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = list(agentrec.read_sessions(shop / "today.jsonl"))
    rankings = []
    with OpenAIServer(ScriptedChatModel([first] * 50)) as server:
        model = ChatOpenAI(model="local", base_url=server.base_url, api_key="unused", temperature=0)
        for _ in range(2):
            async with agentrec.open_recommender(
                catalog=MUGS,
                llm=model,
                embeddings=HashedWordEmbeddings(64),
                hints=InMemoryHintStore(64),
                policy="no_hint",
                list_length=5,
                concurrency=2,
                journal=shop / "calls.sqlite",
                settings={"llm": {"structured": "never"}},
            ) as recommender:
                rankings.append(await recommender.recommend_many(sessions))
        assert server.requests == len(sessions)
    assert rankings[0] == rankings[1]
    assert {len(ranking.item_ids) for ranking in rankings[0]} == {5}


async def test_hints_of_a_folder_reach_the_model_by_the_nearest_policy(shop: Path) -> None:
    seen: list[str] = []

    def answer(messages: list[BaseMessage]) -> str:
        seen.append(messages[-1].text)
        return first(messages)

    async def recommend() -> None:
        async with agentrec.open_recommender(
            catalog=agentrec.Catalog(MUGS),
            llm=ScriptedChatModel([answer]),
            embeddings="hashed",
            hints=shop / "hints",
        ) as recommender:
            hint = agentrec.Hint(text="Prefer green mugs.")
            parts = recommender.components
            await parts.hint_store.add(hint, parts.embeddings.embed_query(hint.text))
            await recommender.recommend(next(agentrec.read_sessions(shop / "today.jsonl")))

    await recommend()
    await recommend()
    assert all("Prefer green mugs." in text for text in seen)


async def test_a_session_without_candidates_needs_a_generator() -> None:
    class First:
        def generate_many(
            self, sessions: list[agentrec.Session], count: int
        ) -> list[tuple[str, ...]]:
            return [tuple(i.item_id for i in MUGS[20 : 20 + count]) for _ in sessions]

    session = agentrec.Session(session_id="s", items=("1", "2"))

    async def recommend(generator: First | None) -> agentrec.Ranking:
        async with agentrec.open_recommender(
            catalog=MUGS,
            llm=ScriptedChatModel([first]),
            embeddings="hashed",
            candidates=generator,
        ) as recommender:
            return await recommender.recommend(session)

    assert set((await recommend(First())).item_ids) <= {str(n) for n in range(20, 40)}
    with pytest.raises(InputError, match="has no candidates"):
        await recommend(None)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "give catalog= or run="),
        ({"run": "runs/none"}, "there is no run here"),
        ({"run": "runs/none", "catalog": MUGS}, "a run has its own"),
        ({"catalog": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"catalog": MUGS, "llm": "gpt"}, "PROVIDER:MODEL"),
        ({"catalog": MUGS, "embeddings": "word2vec"}, "not supported"),
        ({"catalog": MUGS, "policy": "clever"}, "neither the folder"),
        ({"catalog": MUGS, "policy": "linucb"}, "has to be trained"),
        ({"catalog": MUGS, "candidates": "acme"}, "not one of the candidate generators"),
        ({"catalog": MUGS, "concurrency": 0}, "max_concurrency"),
        ({"catalog": MUGS, "settings": {"sede": 1}}, "did you mean seed?"),
        ({"catalog": MUGS, "settings": {"llm": {"api_key": "x"}}}, "looks like a secret"),
    ],
)
async def test_wrong_arguments_are_named(
    given: dict[str, object], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened: Callable[..., object] = agentrec.open_recommender
    usual = {} if "run" in given or not given else {"llm": ScriptedChatModel()}
    usual |= {} if "run" in given else {"embeddings": "hashed"}
    with pytest.raises(InputError, match=problem):
        async with opened(**{**usual, **given}):  # type: ignore[attr-defined]
            pass


def test_models_and_embeddings_are_named_by_what_decides_their_answers() -> None:
    warm, cold = (ChatOpenAI(model="m", api_key="sk-hush", temperature=t) for t in (0.5, 0.0))
    other = ChatOpenAI(
        model="m", api_key="sk-hush", temperature=0, base_url="http://127.0.0.1:1/v1"
    )
    names = [name_model(model).identity for model in (warm, cold, other)]
    assert len(set(names)) == 3
    assert all("hush" not in name and name.startswith("openai-chat:m") for name in names)
    small, large = HashedWordEmbeddings(16), HashedWordEmbeddings(32)
    assert name_embeddings(small).cache_name() != name_embeddings(large).cache_name()


def test_importing_the_front_door_is_light() -> None:
    code = (
        "import sys, agentrec; agentrec.Session; agentrec.Ranking;"
        "heavy = {'torch', 'qdrant_client', 'transformers', 'langchain_core'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert set(agentrec.__all__) <= set(dir(agentrec))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
