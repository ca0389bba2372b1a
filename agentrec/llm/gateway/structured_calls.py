"""Calls whose answers are made to fit a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableParallel, RunnableSequence

_KEPT = 16


@dataclass
class _Asking:
    """How answers to one schema are asked for.

    Attributes:
        schema: The schema itself, or another one might come to have its address.
        step: Asks.
    """

    schema: Mapping[str, Any]
    step: Runnable[Any, Any]


class StructuredCaller:
    """Asks one model for answers that fit.

    What is made of a schema is kept, by the object: making it takes longer than all else that is
    done here for a call.

    Args:
        model: A model with structured output.
    """

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model
        self._asking: dict[int, _Asking] = {}

    async def ask(self, schema: Mapping[str, Any], messages: Sequence[BaseMessage]) -> BaseMessage:
        """The model's message as it came: it holds the usage, and the text if that does not fit.

        Args:
            schema: A JSON schema, which must not change.
            messages: The conversation.

        Raises:
            Exception: What the model's client raises.
        """
        known = self._asking.get(id(schema))
        if known is None:
            if len(self._asking) >= _KEPT:
                self._asking.clear()
            structured = self._model.with_structured_output(dict(schema), include_raw=True)
            known = self._asking[id(schema)] = _Asking(schema, _asking_alone(structured))
        replied: Any = await known.step.ainvoke(list(messages))
        message: BaseMessage = replied if isinstance(replied, BaseMessage) else replied["raw"]
        return message


def _asking_alone(structured: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The step that asks, without the one that reads: that takes minutes over long garbage.

    LangChain's own readers of JSON try every way of completing what is broken, and what they make
    of it is not used here. A chain of another shape than LangChain gives it stays whole.
    """
    if isinstance(structured, RunnableSequence):
        first = structured.first
        if isinstance(first, RunnableParallel) and set(first.steps__) == {"raw"}:
            return first.steps__["raw"]
    return structured
