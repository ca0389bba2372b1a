import asyncio

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.requests import Sampling, sample_seed
from agentrec.testing.scripted_chat_model import ScriptedChatModel

ASKED: list[BaseMessage] = [HumanMessage("What do they like?")]


async def test_every_sampling_is_an_answer_of_its_own_and_paid_once() -> None:
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="m", api_key="k", temperature=0, max_retries=0)
    sampled = Sampling(0.8, 3).apply_to(model)
    assert (sampled.temperature, sampled.seed) == (0.8, 3)
    assert (model.temperature, model.seed) == (0, None)
    assert sampled.root_async_client is model.root_async_client
    gateway = ModelGateway(ScriptedChatModel([lambda _: "a", lambda _: "b", lambda _: "c"]), "m")
    plain = await gateway.ask("prefer", ASKED)
    first = await gateway.ask("prefer", ASKED, sampling=Sampling(0.8, 1))
    second = await gateway.ask("prefer", ASKED, sampling=Sampling(0.8, 2))
    assert {plain, first, second} == {"a", "b", "c"}
    again = await asyncio.gather(
        *(gateway.ask("prefer", ASKED, sampling=Sampling(0.8, 1)) for _ in "ab")
    )
    assert again == [first, first]
    assert gateway.calls["made"] == {"prefer": 3}


def test_a_model_without_the_parameters_stays_as_it_is() -> None:
    model = ScriptedChatModel(["a"])
    assert Sampling(0.8, 1).apply_to(model).model_dump() == model.model_dump()


def test_seeds_differ_by_session_sample_and_seed_alone() -> None:
    seeds = {sample_seed(s, i, n) for s in range(3) for i in ("a", "b") for n in range(3)}
    assert len(seeds) == 18
    assert sample_seed(1, "a", 2) == sample_seed(1, "a", 2)
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("temperature", [-0.1, float("nan")])
def test_a_temperature_below_nothing_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        Sampling(temperature)
