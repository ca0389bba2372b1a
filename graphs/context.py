"""The context of graphs: the components inside a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.errors import InputError


@dataclass(frozen=True)
class GraphContext:
    """The components, and in subclasses what one kind of graph needs besides.

    Graphs that need only the components accept it too, so that both kinds can be nodes of one
    graph with one context.

    Attributes:
        components: The components of every graph.
    """

    components: Components


Context = TypeVar("Context", bound=GraphContext)


def components_of(runtime: Runtime[Components]) -> Components:
    """Return the components that a graph was called with.

    Raises:
        InputError: If the graph was called without ``context=``; LangGraph would pass ``None`` on.
    """
    context: object = runtime.context
    if isinstance(context, GraphContext):
        return context.components
    if not isinstance(context, Components):
        raise InputError("call the graph with context=Components(...)", field="context")
    return context


def context_of(runtime: Runtime[Context], kind: type[Context]) -> Context:
    """Return the context of one kind that a graph was called with.

    Raises:
        InputError: If the graph was called without it.
    """
    if not isinstance(runtime.context, kind):
        raise InputError(f"call the graph with context={kind.__name__}(...)", field="context")
    return runtime.context
