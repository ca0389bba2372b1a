import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_openai import ChatOpenAI
from llm.conversations import asking, echo
from pydantic import BaseModel

from agentrec.errors import ModelCallError
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.gateway.structured_output import StructuredCaller
from agentrec.llm.journal import CallJournal
from agentrec.testing.faulty_server import Fault, FaultPlan, FaultyServer
from agentrec.testing.openai_server import OpenAIServer
from agentrec.testing.scripted_chat_model import ScriptedChatModel

# langchain-openai's profile says of the one that it can; of the other it says nothing.
CLAIMS, SILENT = "gpt-4o-mini", "local-model"
JSON = '{"handles": ["C01"]}'


class Ranking(BaseModel):
    """A ranking."""

    handles: list[str]


def write_json(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> str:
    return json.dumps({"ok": True}) if "ok" in schema["properties"] else JSON


@contextmanager
def serving(**options: Any) -> Iterator[OpenAIServer]:
    with OpenAIServer(ScriptedChatModel([echo] * 50), **options) as server:
        yield server


def client(server: OpenAIServer, name: str) -> ChatOpenAI:
    return ChatOpenAI(
        model=name,
        base_url=server.base_url,
        api_key="unused",  # type: ignore[arg-type]
        max_retries=0,
    )


def with_schema(server: OpenAIServer) -> list[bool]:
    """Of each request, whether it asked for JSON."""
    return ["response_format" in body for body in server.bodies]


@pytest.mark.parametrize("name", [CLAIMS, SILENT])
async def test_where_the_model_can_the_answer_is_json(name: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with serving(write_json=write_json) as server:
        async with await CallJournal.open(path) as journal:
            gateway = ModelGateway(client(server, name), "m", journal)
            asked = [gateway.ask("rank", asking("a"), schema=Ranking) for _ in range(20)]
            assert set(await asyncio.gather(*asked)) == {JSON}
            probes = {"probe": 1} if name == SILENT else {}
            # Also of the probe it is known what it cost.
            assert [each.node for each in await journal.spendings()] == [*probes, "rank"]
            assert gateway.calls == {
                "made": {**probes, "rank": 1},
                "failed": {},
                "cached": {"rank": 19},
            }
            # Counted with the schema as without.
            assert gateway.usage.by_node["rank"].output_tokens == 2
        assert with_schema(server) == [True] * (1 + len(probes))
        async with await CallJournal.open(path) as journal:
            gateway = ModelGateway(client(server, name), "m", journal)
            assert await gateway.ask("rank", asking("a"), schema=Ranking) == JSON
            assert await gateway.ask("rank", asking("b"), schema=Ranking) == JSON
            # The model was asked once what it can do, for the whole life of the file.
            assert gateway.calls["made"] == {"rank": 1}


async def test_a_model_that_cannot_is_asked_plainly_after_one_probe(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    for refused in ((), ("response_format",)):
        path = tmp_path / f"{len(refused)}.sqlite"
        with serving(refused=refused) as server:
            for text in ("a", "b"):
                async with await CallJournal.open(path) as journal:
                    gateway = ModelGateway(client(server, SILENT), "m", journal)
                    answer = await gateway.ask("rank", asking(text), schema=Ranking)
                    assert answer == f"re: {text}"
            assert with_schema(server) == [True, False, False]


async def test_an_endpoint_that_ignores_the_schema_is_taken_as_it_is() -> None:
    with serving() as server:
        gateway = ModelGateway(client(server, CLAIMS), "m")
        assert await gateway.ask("rank", asking("a"), schema=Ranking) == "re: a"
        assert gateway.tokens == {"input": 1, "output": 2}
        assert with_schema(server) == [True]


async def test_an_endpoint_that_refuses_what_its_model_claims_is_asked_plainly(
    tmp_path: Path,
) -> None:
    path = tmp_path / "calls.sqlite"
    with serving(refused=("response_format",)) as server:
        for text in ("a", "b", "a"):
            async with await CallJournal.open(path) as journal:
                gateway = ModelGateway(client(server, CLAIMS), "m", journal)
                answer = await gateway.ask("rank", asking(text), schema=Ranking)
                assert answer == f"re: {text}"
        assert with_schema(server) == [True, False, False]


async def test_a_refusal_of_the_request_itself_is_not_held_against_the_schema(
    tmp_path: Path,
) -> None:
    with serving(refused=("messages",)) as server:
        async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
            gateway = ModelGateway(client(server, CLAIMS), "m", journal)
            with pytest.raises(ModelCallError):
                await gateway.ask("rank", asking("a"), schema=Ranking)
            assert journal.fact("structured output: m") is None


@pytest.mark.parametrize("fault", ["server_error", "rate_limited_bare"])
async def test_a_probe_that_fails_by_bad_luck_says_nothing_of_the_model(
    tmp_path: Path, fault: Fault
) -> None:
    plan = FaultPlan(share=1, kinds=(fault,))
    async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
        with FaultyServer(ScriptedChatModel(), plan) as server:
            once = RetryPolicy(max_attempts=1)
            gateway = ModelGateway(client(server, SILENT), "m", journal, retries=once)
            with pytest.raises(ModelCallError):
                await gateway.ask("rank", asking("a"), schema=Ranking)
            # An endpoint that broke may have broken over the schema; one that is busy has not.
            assert server.requests == (2 if fault == "server_error" else 1)
        assert journal.fact("structured output: m") is None


async def test_models_without_the_method_are_never_probed() -> None:
    model = ScriptedChatModel([echo])
    gateway = ModelGateway(model, "m")
    assert await gateway.ask("rank", asking("a"), schema=Ranking) == "re: a"
    assert gateway.calls["made"] == {"rank": 1}
    model.assert_exhausted()


async def test_never_is_never() -> None:
    with serving(write_json=write_json) as server:
        gateway = ModelGateway(client(server, CLAIMS), "m", structured="never")
        assert await gateway.ask("rank", asking("a"), schema=Ranking) == "re: a"
        assert with_schema(server) == [False]


async def test_a_plain_answer_that_was_paid_for_is_not_paid_again(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with serving(write_json=write_json) as server:
        async with await CallJournal.open(path) as journal:
            gateway = ModelGateway(client(server, CLAIMS), "m", journal)
            assert await gateway.ask("rank", asking("a")) == "re: a"
        async with await CallJournal.open(path) as journal:
            gateway = ModelGateway(client(server, CLAIMS), "m", journal)
            assert await gateway.ask("rank", asking("a"), schema=Ranking) == "re: a"
            # Who asks without a schema is not given JSON in turn.
            assert await gateway.ask("rank", asking("b"), schema=Ranking) == JSON
            assert await gateway.ask("rank", asking("b")) == "re: b"
        assert with_schema(server) == [False, True, False]


async def test_other_schemas_are_other_requests() -> None:
    class Hints(BaseModel):
        """Hints."""

        hints: list[str]

    with serving(write_json=write_json) as server:
        gateway = ModelGateway(client(server, CLAIMS), "m")
        await gateway.ask("rank", asking("a"), schema=Ranking)
        await gateway.ask("rank", asking("a"), schema=Hints)
        await gateway.ask("rank", asking("a"), schema=Ranking)
        assert server.requests == 2


@pytest.mark.parametrize("name", [CLAIMS, SILENT])
@pytest.mark.parametrize("garbage", ["[" * 100_000, '{"handles": ["C01"' * 10_000])
async def test_garbage_is_not_read_where_nobody_needs_it_read(
    name: str, garbage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr("langchain_core.output_parsers.json.parse_json_markdown", read.append)
    with serving(write_json=lambda messages, schema: garbage) as server:
        gateway = ModelGateway(client(server, name), "m")
        plain = "re: a"
        expected = garbage if name == CLAIMS else plain
        assert await gateway.ask("rank", asking("a"), schema=Ranking) == expected
    assert read == []


async def test_a_chain_of_unknown_shape_is_run_as_a_whole() -> None:
    class Odd(ScriptedChatModel):
        def with_structured_output(self, schema: Any, **options: Any) -> Runnable[Any, Any]:
            async def asked(messages: Any) -> Any:
                return {"raw": await self.ainvoke(messages), "parsed": None}

            return RunnableLambda(asked)

    message = await StructuredCaller(Odd([JSON])).ask(Ranking.model_json_schema(), asking("a"))
    assert message.text == JSON


@pytest.mark.parametrize("extra", [None, {"top_k": 3}])
async def test_every_request_is_the_same_on_the_wire(extra: dict[str, Any] | None) -> None:
    with serving(write_json=write_json) as server:
        model = client(server, CLAIMS).model_copy(update={"extra_body": extra})
        gateway = ModelGateway(model, "m")
        for text in ("a", "b", "c"):
            assert await gateway.ask("rank", asking(text), schema=Ranking) == JSON
        first, *others = [{**body, "messages": ()} for body in server.bodies]
        assert first["response_format"]["json_schema"]["schema"]["required"] == ["handles"]
        assert others == [first, first]
        assert first.get("top_k") == (extra or {}).get("top_k")


async def test_a_request_without_the_responses_api_is_the_same_on_the_wire() -> None:
    with serving(write_json=write_json) as server:
        for responses in (None, False):
            model = client(server, CLAIMS).model_copy(update={"use_responses_api": responses})
            assert await ModelGateway(model, "m").ask("n", asking("a"), schema=Ranking) == JSON
        first, second = server.bodies
        assert first == second
        assert "response_format" in first
