"""Calls whose answers are made to fit a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableParallel,
    RunnableSequence,
)

_KEPT = 16


class CutOffError(Exception):
    """An answer in a schema stopped at its token limit."""


@dataclass
class _Asking:
    """How answers to one schema are asked for.

    Attributes:
        schema: The schema itself, or another one might come to have its address.
        step: Asks.
        was_told: Whether the model has answered once, which tells what it is asked through.
        as_it_is: Whether the schema goes past the client's own handling of it.
    """

    schema: Mapping[str, Any]
    step: Runnable[Any, Any]
    was_told: bool = False
    as_it_is: bool = False


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
            CutOffError: If the answer stopped at its token limit, and the client does not say so.
            Exception: What the model's client raises.
        """
        known = self._asking.get(id(schema))
        if known is None:
            if len(self._asking) >= _KEPT:
                self._asking.clear()
            structured = self._model.with_structured_output(dict(schema), include_raw=True)
            known = self._asking[id(schema)] = _Asking(schema, _asking_alone(structured))
        as_it_is = known.as_it_is
        replied: Any = await known.step.ainvoke(list(messages))
        message: BaseMessage = replied if isinstance(replied, BaseMessage) else replied["raw"]
        if as_it_is and message.response_metadata.get("finish_reason") == "length":
            raise CutOffError("the model reached its token limit before its answer was complete")
        if not known.was_told:
            known.was_told = True
            sent = _sent_as_it_is(known.step, message)
            if sent is not None:
                known.step, known.as_it_is = sent, True
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


def _sent_as_it_is(step: Runnable[Any, Any], reply: BaseMessage) -> Runnable[Any, Any] | None:
    """A step that sends the same, with the schema in a part of the body that is not looked into.

    OpenAI's client goes through every field of a schema, for each request anew, and looks for what
    it may have to convert in it: a fifth of what a call takes. Nothing of it is in need of that.

    Args:
        step: The step.
        reply: What it led to. Only the chat completions give a reason for their end in this way;
            LangChain asks some models through another endpoint, which has another field.

    Returns:
        The step; ``None`` where there is nothing to gain, or it is not known to be the same.
    """
    if not isinstance(step, RunnableBinding) or "finish_reason" not in reply.response_metadata:
        return None
    given = dict(step.kwargs)
    form = given.pop("response_format", None)
    has_body = "extra_body" in getattr(type(step.bound), "model_fields", {})
    if not has_body or not isinstance(form, Mapping) or "extra_body" in given:
        return None
    body = {**(getattr(step.bound, "extra_body", None) or {}), "response_format": form}
    return step.model_copy(update={"kwargs": {**given, "extra_body": body}})
