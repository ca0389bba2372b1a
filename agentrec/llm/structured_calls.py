"""One call whose answer is made to fit a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableParallel, RunnableSequence


async def ask_for_json(
    model: BaseChatModel, schema: Mapping[str, Any], messages: Sequence[BaseMessage]
) -> BaseMessage:
    """The model's message as it came: it holds the usage, and the text if that does not fit.

    Args:
        model: A model with structured output.
        schema: A JSON schema.
        messages: The conversation.

    Raises:
        Exception: What the model's client raises.
    """
    structured = model.with_structured_output(dict(schema), include_raw=True)
    replied: Any = await _asking_alone(structured).ainvoke(list(messages))
    message: BaseMessage = replied["raw"]
    return message


def _asking_alone(structured: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The step that asks, without the one that reads: that takes minutes over long garbage.

    LangChain's own readers of JSON try every way of completing what is broken, and what they make
    of it is not used here. A chain of another shape than LangChain gives it stays whole.
    """
    if isinstance(structured, RunnableSequence):
        first = structured.first
        if isinstance(first, RunnableParallel) and set(first.steps__) == {"raw"}:
            return first
    return structured
