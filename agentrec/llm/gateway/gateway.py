"""The one way to a language model: journaled, limited, paid for once, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import BaseModel

from agentrec.errors import ModelCallError
from agentrec.llm.cost.budget import BudgetAccount
from agentrec.llm.cost.usage import PriceTable, Usage
from agentrec.llm.gateway.model_caller import CallInterest, ModelCaller
from agentrec.llm.gateway.requests import Request, Sampling, call_key
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.gateway.structured_output import (
    NOT_UNDERSTOOD,
    PROBE_QUESTION,
    PROBE_SCHEMA,
    StructuredMode,
    StructuredSupport,
)
from agentrec.llm.journal import CallJournal
from agentrec.llm.journal_file import JournaledAnswer
from agentrec.llm.rate_limits import CallLimiter

# The one question that finds out about structured output is counted under this node.
PROBE_NODE = "probe"


class ModelGateway:
    """Asks a chat model, and never asks the same twice.

    A call goes from ``ask`` (is the answer known, or on its way?) to ``ModelCaller`` (limits,
    budget, retries) and back through the journal.

    Args:
        model: Any LangChain chat model. Its client's own retries should be off
            (``max_retries=0``): they evade limits, budget and counts.
        name: The model's name and parameters, part of every journal key: two models that may
            answer differently need different names. Without a journal the default is the name
            that the model reports.
        journal: Where answers are stored; ``None`` to keep them in memory for this object's life.
        limiter: Limits on the calls; several gateways may share it.
        retries: When a failed call is made again.
        account: A hard budget; several gateways may share it. ``None`` for none.
        prices: What tokens cost, for ``usage``; by default those of the account.
        structured: ``auto`` to request structured output where a schema is given and the model
            supports it, which may cost one short call for each model's name; ``never`` not to.
        seed: Seed of the jitter in waits between attempts; ``None`` for a different one each time.

    Raises:
        ValueError: If there is a journal but no name.
        InputError: If the account needs a price that it does not have.
    """

    def __init__(
        self,
        model: BaseChatModel,
        name: str | None = None,
        journal: CallJournal | None = None,
        *,
        limiter: CallLimiter | None = None,
        retries: RetryPolicy | None = None,
        account: BudgetAccount | None = None,
        prices: PriceTable | None = None,
        structured: StructuredMode = "auto",
        seed: int | None = None,
    ) -> None:
        if name is None:
            if journal is not None:
                raise ValueError("a journal needs the model's name: pass model_identity(...)")
            name = _reported_name(model)
        if account is not None:
            account.check(name)
            prices = account.prices if prices is None else prices
        self.model = model
        self.name = name
        self._journal = journal
        self._answers: dict[str, JournaledAnswer] = {}
        self._in_flight: dict[str, _SharedCall] = {}
        self._structured = StructuredSupport(model, name, structured, journal)
        self._schemas: dict[type[BaseModel], Mapping[str, Any]] = {}
        self._caller = ModelCaller(
            model,
            name,
            limiter=CallLimiter() if limiter is None else limiter,
            retries=RetryPolicy() if retries is None else retries,
            account=account,
            prices=PriceTable() if prices is None else prices,
            journal=journal,
            jitter=Random(seed),
        )

    async def ask(
        self,
        node: str,
        messages: Sequence[BaseMessage],
        sample: int = 0,
        *,
        schema: type[BaseModel] | None = None,
        sampling: Sampling | None = None,
    ) -> str:
        """Return the model's answer.

        Args:
            node: What the call is for, in counts and the journal.
            messages: The conversation.
            sample: Number of the sample, for models asked several times at a temperature.
            schema: What the answer should fit, where the model supports it. A plain answer that
                was paid for earlier is used all the same, and a model may ignore the schema: read
                plain text too.
            sampling: How the answer is sampled, if not as the model's own parameters say; another
                sampling gives another answer.

        Returns:
            The answer's text; JSON where the schema was used.

        Raises:
            ModelCallError: If the call failed for good; it is no answer and can be made again.
            AgentRecError: If the journal could not be read or written.
        """
        plain_key = key = self.key(messages, sample, sampling)
        json_schema = None if schema is None else self._json_schema(schema)
        if json_schema is not None:
            key = call_key(self.name, messages, sample, json_schema, sampling)
        known = self._in_memory(key) or self._in_memory(plain_key)
        if known is not None:
            self._caller.meter.cached(node)
            return known.text
        call = self._in_flight.get(key)
        is_first = call is None
        if call is None:
            call = self._in_flight[key] = _SharedCall()
            request = Request(plain_key, node, messages, sampling=sampling)
            call.task = asyncio.create_task(self._call(call, request, key, json_schema))
            call.task.add_done_callback(partial(self._finished, key, call))
        answer = await self._wait(key, call)
        if not (is_first and call.made):
            self._caller.meter.cached(node)
        return answer.text

    def key(
        self, messages: Sequence[BaseMessage], sample: int = 0, sampling: Sampling | None = None
    ) -> str:
        """Return the content-derived key of a request without a schema."""
        return call_key(self.name, messages, sample, sampling=sampling)

    @property
    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """By node: calls ``made`` to the model, those of them that ``failed``, and ``cached``.

        ``cached`` counts the answers that needed no call of their own, because they were known or
        on the way for another caller.
        """
        return self._caller.meter.calls

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written by the calls made, as the model reports them."""
        return self._caller.meter.tokens

    @property
    def usage(self) -> Usage:
        """Everything this object counted, with its cost.

        For all attempts of a run see ``lifelong_usage`` and ``CallJournal.spendings``.
        """
        return self._caller.meter.usage

    async def aclose(self, patience: float | None = None) -> None:
        """Wait for calls in flight, so that their answers are stored.

        Args:
            patience: Most seconds to wait, at least 0; calls without an answer by then are
                cancelled, and may have been paid for nothing. ``None`` for as long as it takes.
        """
        while self._in_flight:
            tasks = [call.task for call in self._in_flight.values()]
            # Unlike gather, this leaves the calls alone if the waiting caller is cancelled.
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _in_memory(self, key: str) -> JournaledAnswer | None:
        return self._answers.get(key) if self._journal is None else self._journal.in_memory(key)

    async def _wait(self, key: str, call: _SharedCall) -> JournaledAnswer:
        call.waiting += 1
        try:
            # Shielded: a cancelled caller must not throw away what was paid for, nor what
            # another caller waits for.
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if not call.waiting and not call.sent and not call.task.done():
                # Nobody waits and nothing was sent: a run that is stopped must not go on to send
                # everything that is still queued. The next caller starts a new call.
                self._in_flight.pop(key)
                call.task.cancel()

    async def _call(
        self,
        call: _SharedCall,
        request: Request,
        structured_key: str,
        json_schema: Mapping[str, Any] | None,
    ) -> JournaledAnswer:
        if self._journal is not None:
            for key in dict.fromkeys((structured_key, request.key)):
                known = await self._journal.get(key)
                if known is not None:
                    return known
        call.made = True
        if json_schema is None or not await self._supports_structure():
            return await self._stored_answer(request, call)
        try:
            structured = replace(request, key=structured_key, schema=json_schema)
            return await self._stored_answer(structured, call)
        except ModelCallError as error:
            if error.status not in NOT_UNDERSTOOD:
                raise
        answer = await self._stored_answer(request, call)
        # Only now: what the endpoint did not understand may have been the request itself.
        await self._structured.deny()
        return answer

    async def _stored_answer(self, request: Request, call: CallInterest) -> JournaledAnswer:
        answer = await self._caller.answer(request, call)
        call.sent = True
        if self._journal is not None:
            return await self._journal.put(request.key, request.node, answer)
        self._answers[request.key] = answer
        return answer

    def _json_schema(self, schema: type[BaseModel]) -> Mapping[str, Any] | None:
        """Return the schema as it is sent; ``None`` if the model is never sent one."""
        if not self._structured.is_possible:
            return None
        if schema not in self._schemas:
            # Cached: making it costs more than everything else here.
            self._schemas[schema] = schema.model_json_schema()
        return self._schemas[schema]

    async def _supports_structure(self) -> bool:
        async def probe() -> str:
            messages = [HumanMessage(PROBE_QUESTION)]
            key = call_key(self.name, messages, 0, PROBE_SCHEMA)
            known = None if self._journal is None else await self._journal.get(key)
            if known is None:
                # Stored like any answer: it costs money too.
                request = Request(key, PROBE_NODE, messages, PROBE_SCHEMA)
                known = await self._stored_answer(request, CallInterest(waiting=1))
            return known.text

        return await self._structured.is_supported(probe)

    def _finished(self, key: str, call: _SharedCall, task: asyncio.Task[JournaledAnswer]) -> None:
        if self._in_flight.get(key) is call:
            del self._in_flight[key]
        if not task.cancelled():
            # Retrieved, so that asyncio does not report a failure nobody waits for any more.
            task.exception()


@dataclass(eq=False)
class _SharedCall(CallInterest):
    """One call and those who wait for it."""

    task: asyncio.Task[JournaledAnswer] = field(init=False)
    made: bool = False


def _reported_name(model: BaseChatModel) -> str:
    names = (getattr(model, field, None) for field in ("model_name", "model"))
    return next((name for name in names if isinstance(name, str) and name), type(model).__name__)
