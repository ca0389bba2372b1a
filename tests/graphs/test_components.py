"""Components take a plain LangChain chat model and put the gateway around it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from testing.answering import make_catalog, make_components, make_session, targets_of, world

from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel


async def test_a_plain_chat_model_is_asked_through_a_gateway() -> None:
    session, graph = make_session(3), build_recommendation_graph()
    answer = world(lambda *_: 3, targets_of([session], make_catalog()))

    def reply(messages: Sequence[BaseMessage]) -> str:
        # One short question comes first: whether the model can answer in JSON.
        return answer(messages) if len(messages) > 1 else "Yes."

    with OpenAIServer(ScriptedChatModel([reply] * 10)) as server:
        chat = ChatOpenAI(
            model="local", base_url=server.base_url, api_key="unused", max_retries=0, timeout=20
        )
        components = replace(make_components(ScriptedChatModel([])), model=chat)
        rankings = [
            (await graph.ainvoke({"session": session}, context=context))["ranking"]
            for context in (components, components, replace(components, run_name="other"))
        ]
        await components.gateway.aclose()
    assert components.gateway.name == "local"
    assert components.gateway.model is chat
    assert rankings[0] == rankings[1] == rankings[2]
    assert rankings[0].item_ids[2] == session.target
    # Equal requests are paid for once, also by a copy of the components.
    assert components.gateway.calls["made"]["recommend"] == 1
    assert components.gateway.calls["cached"]["recommend"] == 2


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (ModelGateway(ScriptedChatModel([]), "mine"), "mine"),
        (ScriptedChatModel([], model_name="tuned"), "tuned"),
        (FakeListChatModel(responses=[]), "FakeListChatModel"),
    ],
)
def test_a_model_is_called_by_its_name_or_its_class(
    model: BaseChatModel | ModelGateway, name: str
) -> None:
    gateway = replace(make_components(ScriptedChatModel([])), model=model).gateway
    assert gateway.name == name
    assert model in (gateway, gateway.model)


@pytest.mark.parametrize(
    "wrong",
    [
        {"list_length": 0},
        {"shuffles": 0},
        {"max_candidates": 0},
        {"label_length": 1},
        {"reflection_rounds": 0},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
        make_components(ScriptedChatModel([]), **wrong)


def test_importing_the_components_loads_no_model_library() -> None:
    code = "import agentrec.components, sys; print('agentrec.llm.gateway.gateway' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=None
    )
    assert done.stdout == "False\n"
