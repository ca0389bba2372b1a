"""What measurements of the recommendation graph share: parts, sessions, an instant model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph

from agentrec.catalog import Catalog, Item
from agentrec.components import Components
from agentrec.data.item_features import discover_features
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.hint_policies.untrained import RandomHintPolicy
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session
from agentrec.stores.hints.logged_store import InMemoryHintStore

ITEMS, HISTORY, CANDIDATES, HINTS, DIMENSION = 499, 10, 50, 20, 384
ANSWER = "\n".join(f"{n}. C{n:02d} | thing" for n in range(1, 11))
NODES = 5
"""Nodes of the recommendation graph."""


class InstantModel(BaseChatModel):
    """Answers the same at once and remembers nothing, so that millions of calls cost no memory."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(ANSWER))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # The base class's own would go through a thread.
        return self._generate(messages)


class Empty(TypedDict, total=False):
    session: Session


async def nothing(state: Empty) -> Empty:
    return {}


def chain_graph(*nodes: Any) -> Any:
    """A plain LangGraph graph of some nodes in a row."""
    graph = StateGraph(Empty)
    names = [f"node_{n}" for n in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for first, second in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(first, second)
    return graph.compile()


def empty_graph(nodes: int = NODES) -> Any:
    """A graph that does nothing, in so many steps."""
    return chain_graph(*[nothing] * nodes)


def sessions(count: int, start: int = 0) -> Iterator[Session]:
    """Sessions that differ from each other, made one by one."""
    for n in range(start, start + count):
        # The number of items is a prime, so any step visits all of them.
        step = 1 + n // ITEMS % (ITEMS - 1)
        shown = [str((n + k * step) % ITEMS) for k in range(HISTORY + CANDIDATES)]
        yield Session(
            session_id=f"s{n}", items=tuple(shown[:HISTORY]), candidates=tuple(shown[HISTORY:])
        )


async def parts(gateway: ModelGateway, **changes: Any) -> Components:
    """The parts of a recommendation graph with twenty hints of 384 dimensions."""
    catalog = Catalog(Item(item_id=str(n), title=f"thing {n}") for n in range(ITEMS))
    embeddings = HashedWordEmbeddings(DIMENSION)
    vectors = np.array(
        embeddings.embed_documents([item.title for item in catalog.values()]), dtype=np.float32
    )
    store = InMemoryHintStore(DIMENSION)
    for n in range(HINTS):
        text = f"Prefer thing {n}."
        await store.add(Hint(text=text), embeddings.embed_query(text))
    given: dict[str, Any] = {
        "catalog": catalog,
        "model": gateway,
        "prompts": Prompts.load(),
        "embeddings": embeddings,
        "encoder": RecencySessionEncoder(catalog, discover_features(catalog, vectors, {}), vectors),
        "hint_store": store,
        "hint_policy": RandomHintPolicy(0),
    }
    return Components(**given | changes)


def load() -> str:
    """How busy the machine is with other things, to be told beside every time."""
    one, five, _ = os.getloadavg()
    return f"load {one:.1f} (1 min), {five:.1f} (5 min) on {os.cpu_count()} cores"
