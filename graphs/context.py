"""Getting the components inside a node."""

from __future__ import annotations

from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.errors import InputError


def components_of(runtime: Runtime[Components]) -> Components:
    """The components a graph was called with.

    Raises:
        InputError: If the graph was called without ``context=``; LangGraph would pass ``None``
            on, to fail somewhere deeper.
    """
    if not isinstance(runtime.context, Components):
        raise InputError("call the graph with context=Components(...)", field="context")
    return runtime.context
