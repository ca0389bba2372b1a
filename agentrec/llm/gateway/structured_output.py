"""Structured output: whether a model supports it, and calls that use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableParallel, RunnableSequence
from pydantic import BaseModel

from agentrec.errors import ModelCallError
from agentrec.llm.journal.journal import CallJournal

StructuredMode = Literal["auto", "never"]

# How endpoints answer that do not know what they are asked for.
NOT_UNDERSTOOD = frozenset({400, 415, 422, 501})

PROBE_QUESTION = "Is ice colder than steam?"


class ColderThan(BaseModel):
    """Whether the statement is true."""

    ok: bool


PROBE_SCHEMA: Mapping[str, Any] = ColderThan.model_json_schema()

Probe = Callable[[], Awaitable[str]]


class StructuredOutput:
    """Knows whether a model supports structured output.

    Nothing is asked of a model whose class has no such method (the embedded and the scripted one),
    nor of one whose ``profile`` says it. Any other is asked one short question, once for its name
    as long as the journal remembers.

    Args:
        model: The model.
        name: Its name at the gateway.
        mode: ``auto`` to find out, ``never`` to do without.
        journal: Where it is remembered, if anywhere.
    """

    def __init__(
        self, model: BaseChatModel, name: str, mode: StructuredMode, journal: CallJournal | None
    ) -> None:
        self._name = f"structured output: {name}"
        self._journal = journal
        self._claim = False if mode == "never" else _claim(model)
        self._known = False if self._claim is False else None
        self._asking = asyncio.Lock()

    @property
    def is_possible(self) -> bool:
        """Whether there is anything to find out; if not, a schema changes nothing."""
        return self._claim is not False

    async def is_supported(self, probe: Probe) -> bool:
        """Find out.

        Args:
            probe: Asks ``PROBE_QUESTION`` under ``PROBE_SCHEMA`` and returns the answer.

        Raises:
            ModelCallError: If the probe failed in a way that says nothing of the model.
        """
        if self._known is None:
            # One of many callers asks, and the others wait for what it hears.
            async with self._asking:
                if self._known is None:
                    self._known = await self._find_out(probe)
        return self._known

    async def deny(self) -> None:
        """Remember that the model does not, whatever it claims."""
        await self._remember(supported=False)

    async def _find_out(self, probe: Probe) -> bool:
        remembered = None if self._journal is None else self._journal.fact(self._name)
        if remembered is not None:
            return remembered == "yes"
        if self._claim is not None:
            return self._claim
        try:
            supported = _fits(await probe())
        except ModelCallError as error:
            if error.status in NOT_UNDERSTOOD or error.kind == "malformed":
                supported = False
            elif error.kind == "failed":
                # Some endpoints break over what they do not know. Whether this one did will show:
                # without a schema it works or fails for good. Nothing to remember.
                return False
            else:
                raise
        await self._remember(supported)
        return supported

    async def _remember(self, supported: bool) -> None:
        self._known = supported
        if self._journal is not None:
            await self._journal.put_fact(self._name, "yes" if supported else "no")


def _claim(model: BaseChatModel) -> bool | None:
    """What the model says of itself; ``None`` if it says nothing."""
    try:
        model.with_structured_output(dict(PROBE_SCHEMA), include_raw=True)
    except Exception:
        # NotImplementedError is what the interface asks for; a class that fails in another way
        # before anything was sent cannot do it either.
        return False
    profile = model.profile or {}
    # By default a class binds a tool where it has no better way.
    claims = [profile.get("structured_output"), profile.get("tool_calling")]
    if any(claims):
        return True
    return None if None in claims else False


def _fits(text: str) -> bool:
    try:
        return isinstance(json.loads(text).get("ok"), bool)
    except (ValueError, AttributeError, RecursionError):
        # The last of them is raised for what is nested a thousand levels deep.
        return False


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
