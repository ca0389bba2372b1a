"""One answer from a model: within limits and budget, tried again where that can help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from agentrec.errors import ModelCallError
from agentrec.llm.cost.budget import BudgetAccount, Reservation
from agentrec.llm.cost.estimate import TokenEstimator
from agentrec.llm.cost.prices import PriceTable
from agentrec.llm.gateway.call_errors import as_model_call_error
from agentrec.llm.gateway.call_metering import CallTelemetry, UsageMeter
from agentrec.llm.gateway.replies import Reply, read_reply
from agentrec.llm.gateway.requests import Draw
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.gateway.structured_output import StructuredCaller
from agentrec.llm.journal.journal import CallJournal
from agentrec.llm.journal.journal_file import JournaledAnswer, JournaledFailure
from agentrec.llm.limits.limits import CallLimiter
from agentrec.llm.limits.pacing import Permit
from agentrec.llm.providers.secrets import secrets_of

# Overloaded endpoints name a time with these; with other codes it concerns the request alone.
_OVERLOADED = frozenset({429, 503, 529})


class Flight(Protocol):
    """Somebody's interest in a call."""

    sent: bool

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the answer."""


@dataclass
class WantedFlight:
    """A call that is wanted whatever happens."""

    sent: bool = False
    wanted: bool = True


@dataclass(frozen=True)
class Request:
    """What a model is asked.

    Attributes:
        key: Content-derived key.
        node: What it is for.
        messages: The conversation.
        schema: JSON schema that the answer is made to fit, if any.
        draw: How the answer is drawn, if not as the model's parameters say.
    """

    key: str
    node: str
    messages: Sequence[BaseMessage]
    schema: Mapping[str, Any] | None = None
    draw: Draw | None = None


class PaidCaller:
    """Makes calls to one model.

    Args:
        model: The model.
        name: Its name, for prices and the journal.
        limiter: The limits.
        retries: What is tried again.
        account: The budget, if there is one.
        prices: What tokens cost, for telemetry.
        journal: Where failures are noted, if anywhere.
        draws: Where the jitter of waits comes from.
    """

    def __init__(
        self,
        model: BaseChatModel,
        name: str,
        *,
        limiter: CallLimiter,
        retries: RetryPolicy,
        account: BudgetAccount | None,
        prices: PriceTable,
        journal: CallJournal | None,
        draws: Random,
    ) -> None:
        self._model = model
        self._structured = StructuredCaller(model)
        self._name = name
        self._limiter = limiter
        self._retries = retries
        self._account = account
        self._journal = journal
        self._draws = draws
        self._estimator = TokenEstimator()
        self._secrets = secrets_of(model)
        self._telemetry = CallTelemetry(name, prices)
        self.meter = UsageMeter(self._telemetry)

    async def answer(self, request: Request, flight: Flight) -> JournaledAnswer:
        """Get an answer.

        Args:
            request: What to ask.
            flight: Told when a call is on its way; once nobody wants it, nothing is tried again.

        Raises:
            ModelCallError: If it failed for good, or the budget is spent.
        """
        failures: list[ModelCallError] = []
        while True:
            attempt = len(failures) + 1
            reply = await self._attempt(request, flight, attempt)
            flight.sent = False
            if reply.problem is None:
                return JournaledAnswer(
                    reply.text, reply.input_tokens, reply.output_tokens, self._name, attempt
                )
            self._note(request, reply, reply.problem, attempt)
            failures.append(reply.problem)
            wait = self._retries.wait_after(failures, self._draws)
            if wait is None or not flight.wanted:
                raise reply.problem
            # Outside the limits: whoever waits here takes no place from others.
            await asyncio.sleep(wait)

    async def _attempt(self, request: Request, flight: Flight, attempt: int) -> Reply:
        guess = self._estimator.estimate(request.node, request.messages)
        reservation: Reservation | None = None
        if self._account is not None:
            reservation = await self._account.reserve(self._name, *guess)
        came_to = (0, 0)
        try:
            async with self._limiter.acquire(sum(guess)) as permit:
                flight.sent = True
                self.meter.made(request.node, attempt)
                with self._telemetry.call(request.node, attempt) as call:
                    reply = await self._reply(request)
                    call.replied(reply)
                came_to = self._learn(request, reply, guess, permit)
                return reply
        finally:
            if self._account is not None and reservation is not None:
                self._account.settle(reservation, *came_to)

    async def _reply(self, request: Request) -> Reply:
        """The model's reply; one that did not come is a reply with a problem."""
        timeout = self._retries.timeout
        try:
            async with asyncio.timeout(timeout) as clock:
                message = await self._invoke(request)
        except Exception as error:
            if isinstance(error, TimeoutError) and clock.expired():
                line = f"the model did not answer within {timeout:g} s"
                problem = ModelCallError(line, kind="timed_out")
            else:
                problem = as_model_call_error(error, self._secrets)
            # Returned and not raised from here: raised here it would bring along the client's
            # own exception, whose text may hold a key.
            return Reply("", False, 0, 0, problem)
        return read_reply(message, structured=request.schema is not None)

    async def _invoke(self, request: Request) -> BaseMessage:
        messages = list(request.messages)
        if request.draw is None:
            model, structured = self._model, self._structured
        else:
            model = request.draw.made_by(self._model)
            structured = StructuredCaller(model)
        if request.schema is None:
            return await model.ainvoke(messages)
        return await structured.ask(request.schema, messages)

    def _learn(
        self, request: Request, reply: Reply, guess: tuple[int, int], permit: Permit
    ) -> tuple[int, int]:
        """Take in what a call came to; the guess stands for a model that does not say."""
        came_to = (reply.input_tokens, reply.output_tokens)
        self.meter.paid(request.node, *came_to)
        if reply.reported:
            self._estimator.learn(request.node, request.messages, *came_to)
            self._limiter.correct(permit, sum(came_to))
            return came_to
        return guess if reply.problem is None else came_to

    def _note(self, request: Request, reply: Reply, error: ModelCallError, attempt: int) -> None:
        self.meter.failed(request.node)
        if self._journal is not None:
            self._journal.note_failure(
                JournaledFailure(
                    request.key,
                    request.node,
                    error.kind,
                    str(error),
                    time.time(),
                    attempt,
                    self._name,
                    reply.input_tokens,
                    reply.output_tokens,
                )
            )
        if error.retry_after is not None and error.status in _OVERLOADED:
            self._limiter.pause(error.retry_after)
