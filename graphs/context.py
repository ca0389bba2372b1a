"""Getting the components inside a node."""

from __future__ import annotations

from dataclasses import dataclass

from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.errors import InputError


@dataclass(frozen=True)
class GraphParts:
    """The components, and in what is made of this more that one kind of graph needs.

    Graphs that need the components alone take it as well, so that graphs of both kinds can be
    nodes of one graph with one context.

    Attributes:
        components: The parts of every graph: catalogue, language model, prompts and more.
    """

    components: Components


def components_of(runtime: Runtime[Components]) -> Components:
    """The components a graph was called with.

    Raises:
        InputError: If the graph was called without ``context=``; LangGraph would pass ``None``
            on, to fail somewhere deeper.
    """
    context: object = runtime.context
    if isinstance(context, GraphParts):
        return context.components
    if not isinstance(context, Components):
        raise InputError("call the graph with context=Components(...)", field="context")
    return context
