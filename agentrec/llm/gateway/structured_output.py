"""Structured output: whether a model supports it, and calls that use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableParallel,
    RunnableSequence,
)
from pydantic import BaseModel

from agentrec.errors import ModelCallError
from agentrec.llm.journal import CallJournal

StructuredMode = Literal["auto", "never"]

# Status codes of endpoints that do not know a parameter.
NOT_UNDERSTOOD = frozenset({400, 415, 422, 501})

PROBE_QUESTION = "Is ice colder than steam?"

_MAX_SCHEMAS = 16


class ColderThan(BaseModel):
    """Whether the statement is true."""

    ok: bool


PROBE_SCHEMA: Mapping[str, Any] = ColderThan.model_json_schema()

Probe = Callable[[], Awaitable[str]]


class StructuredSupport:
    """Finds out once whether a model supports structured output.

    A model is not asked if its class has no such method (the embedded and the scripted one) or if
    its ``profile`` says whether it can. Any other is asked one short question, once for its name
    as long as the journal remembers.

    Args:
        model: The model.
        name: Its name at the gateway.
        mode: ``auto`` to find out, ``never`` to do without.
        journal: Where the result is remembered, if anywhere.
    """

    def __init__(
        self, model: BaseChatModel, name: str, mode: StructuredMode, journal: CallJournal | None
    ) -> None:
        self._fact = f"structured output: {name}"
        self._journal = journal
        self._declared = False if mode == "never" else _declared_support(model)
        self._supported = False if self._declared is False else None
        self._lock = asyncio.Lock()

    @property
    def is_possible(self) -> bool:
        """Whether the model may support it; if not, a schema changes nothing."""
        return self._declared is not False

    async def is_supported(self, probe: Probe) -> bool:
        """Return whether the model supports it; ask the model if that is not known.

        Args:
            probe: Asks ``PROBE_QUESTION`` under ``PROBE_SCHEMA`` and returns the answer.

        Raises:
            ModelCallError: If the probe failed in a way that says nothing about the model.
        """
        if self._supported is None:
            # One of many callers asks; the others wait for its result.
            async with self._lock:
                if self._supported is None:
                    self._supported = await self._find_out(probe)
        return self._supported

    async def deny(self) -> None:
        """Remember that the model does not support it, whatever it declares."""
        await self._remember(supported=False)

    async def _find_out(self, probe: Probe) -> bool:
        remembered = None if self._journal is None else self._journal.fact(self._fact)
        if remembered is not None:
            return remembered == "yes"
        if self._declared is not None:
            return self._declared
        try:
            supported = _fits(await probe())
        except ModelCallError as error:
            if error.status in NOT_UNDERSTOOD or error.kind == "malformed":
                supported = False
            elif error.kind == "failed":
                # Some endpoints break on unknown parameters. Whether this one did will show:
                # without a schema it works or fails for good. Not remembered.
                return False
            else:
                raise
        await self._remember(supported)
        return supported

    async def _remember(self, supported: bool) -> None:
        self._supported = supported
        if self._journal is not None:
            await self._journal.put_fact(self._fact, "yes" if supported else "no")


class StructuredCaller:
    """Calls one model for answers that fit a schema.

    What LangChain makes of a schema is cached by the schema object: making it takes longer than
    everything else that is done here for a call.

    Args:
        model: A model with structured output.
    """

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model
        self._calls: dict[int, _StructuredCall] = {}

    async def ask(self, schema: Mapping[str, Any], messages: Sequence[BaseMessage]) -> BaseMessage:
        """Return the model's message as it came: with its usage, and its text if it does not fit.

        Args:
            schema: A JSON schema, which must not change.
            messages: The conversation.

        Raises:
            Exception: What the model's client raises.
        """
        call = self._calls.get(id(schema))
        if call is None:
            if len(self._calls) >= _MAX_SCHEMAS:
                self._calls.clear()
            structured = self._model.with_structured_output(dict(schema), include_raw=True)
            call = self._calls[id(schema)] = _StructuredCall(
                schema, _sent_as_it_is(_without_parser(structured))
            )
        replied: Any = await call.runnable.ainvoke(list(messages))
        message: BaseMessage = replied if isinstance(replied, BaseMessage) else replied["raw"]
        return message


@dataclass
class _StructuredCall:
    # The schema is kept alive, or another one might get its id.
    schema: Mapping[str, Any]
    runnable: Runnable[Any, Any]


def _without_parser(structured: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Return the step that calls the model, without the parser behind it.

    LangChain's JSON parser tries every way to complete broken JSON, which takes minutes on long
    garbage, and its result is not used here. A chain of another shape is returned whole.
    """
    if isinstance(structured, RunnableSequence):
        first = structured.first
        if isinstance(first, RunnableParallel) and set(first.steps__) == {"raw"}:
            return first.steps__["raw"]
    return structured


def _sent_as_it_is(runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Move the schema to ``extra_body``, the part of a request that OpenAI's client passes on.

    Elsewhere the client compares a schema with its declared types at every call: without this,
    64 calls of 500 ms at a time are used to .65 instead of .78. The Responses API has another
    body, so it must have been ruled out.
    """
    if isinstance(runnable, RunnableBinding) and "response_format" in runnable.kwargs:
        model: Any = runnable.bound
        if getattr(model, "use_responses_api", None) is False:
            kwargs = dict(runnable.kwargs)
            moved = {"response_format": kwargs.pop("response_format")}
            runnable = model.bind(**kwargs, extra_body={**(model.extra_body or {}), **moved})
    return runnable


def _declared_support(model: BaseChatModel) -> bool | None:
    """Return what the model declares; ``None`` if it declares nothing."""
    try:
        model.with_structured_output(dict(PROBE_SCHEMA), include_raw=True)
    except Exception:
        # The interface asks for NotImplementedError; a class that fails in another way before
        # anything is sent cannot do it either.
        return False
    profile = model.profile or {}
    # By default a class binds a tool where it has no better way.
    declared = [profile.get("structured_output"), profile.get("tool_calling")]
    if any(declared):
        return True
    return None if None in declared else False


def _fits(text: str) -> bool:
    try:
        return isinstance(json.loads(text).get("ok"), bool)
    except (ValueError, AttributeError, RecursionError):
        return False
