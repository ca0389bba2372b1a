"""One answer from a model: within limits and budget, retried where that can help."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from agentrec.errors import ModelCallError
from agentrec.llm.cost.budget import BudgetAccount, Reservation
from agentrec.llm.cost.estimate import TokenEstimator
from agentrec.llm.cost.usage import PriceTable
from agentrec.llm.gateway.call_metering import CallMeter
from agentrec.llm.gateway.replies import Reply, as_model_call_error, read_reply
from agentrec.llm.gateway.requests import Request
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.gateway.structured_output import StructuredCaller
from agentrec.llm.journal import CallJournal
from agentrec.llm.journal_file import JournaledAnswer, JournaledFailure
from agentrec.llm.rate_limits import CallLimiter, Permit
from agentrec.llm.secrets import secrets_of

# With these, ``Retry-After`` speaks for all calls; with other codes only for this request.
_OVERLOADED = frozenset({429, 503, 529})


@dataclass(eq=False)
class CallInterest:
    """Who waits for a call.

    Attributes:
        waiting: How many callers wait for the answer.
        sent: Whether the call is on its way to the model.
    """

    waiting: int = 0
    sent: bool = False


class ModelCaller:
    """Makes calls to one model.

    Args:
        model: The model.
        name: Its name, for prices and the journal.
        limiter: The limits.
        retries: Which failures are retried, and when.
        account: The budget, if there is one.
        prices: What tokens cost, for counts.
        journal: Where failures are noted, if anywhere.
        jitter: Source of the jitter in waits.
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
        jitter: Random,
    ) -> None:
        self._model = model
        self._structured = StructuredCaller(model)
        self._name = name
        self._limiter = limiter
        self._retries = retries
        self._account = account
        self._journal = journal
        self._jitter = jitter
        self._estimator = TokenEstimator()
        self._secrets = secrets_of(model)
        self.meter = CallMeter(name, prices)

    async def answer(self, request: Request, interest: CallInterest) -> JournaledAnswer:
        """Call the model, and again where a failure is transient.

        Args:
            request: What to ask.
            interest: Its ``sent`` is set while a call is on its way; once nobody waits, nothing
                is retried.

        Raises:
            ModelCallError: If the call failed for good, or the budget is spent.
        """
        failures: list[ModelCallError] = []
        while True:
            attempt = len(failures) + 1
            reply = await self._attempt(request, interest, attempt)
            interest.sent = False
            if reply.problem is None:
                return JournaledAnswer(
                    reply.text, reply.input_tokens, reply.output_tokens, self._name, attempt
                )
            self._note_failure(request, reply, reply.problem, attempt)
            failures.append(reply.problem)
            wait = self._retries.wait_after(failures, self._jitter)
            if wait is None or not interest.waiting:
                raise reply.problem
            # Outside the limits: a waiting call takes no slot from others.
            await asyncio.sleep(wait)

    async def _attempt(self, request: Request, interest: CallInterest, attempt: int) -> Reply:
        estimate = self._estimator.estimate(request.node, request.messages)
        reservation: Reservation | None = None
        if self._account is not None:
            reservation = await self._account.reserve(self._name, *estimate)
        spent = (0, 0)
        try:
            async with self._limiter.acquire(sum(estimate)) as permit:
                interest.sent = True
                with self.meter.call(request.node, attempt) as span:
                    reply = await self._reply(request)
                    span.replied(reply)
                spent = self._count_tokens(request, reply, estimate, permit)
                return reply
        finally:
            if self._account is not None and reservation is not None:
                self._account.settle(reservation, *spent)

    async def _reply(self, request: Request) -> Reply:
        """Return the model's reply; a call without one gives a reply with a problem."""
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
            # Returned, not raised: raised here it would carry the client's own exception, whose
            # text may hold a key.
            return Reply("", False, 0, 0, problem)
        return read_reply(message, structured=request.schema is not None)

    async def _invoke(self, request: Request) -> BaseMessage:
        messages = list(request.messages)
        if request.sampling is None:
            model, structured = self._model, self._structured
        else:
            model = request.sampling.apply_to(self._model)
            structured = StructuredCaller(model)
        if request.schema is None:
            return await model.ainvoke(messages)
        return await structured.ask(request.schema, messages)

    def _count_tokens(
        self, request: Request, reply: Reply, estimate: tuple[int, int], permit: Permit
    ) -> tuple[int, int]:
        """Return what a call cost; the estimate, if the model does not report its tokens."""
        reported = (reply.input_tokens, reply.output_tokens)
        self.meter.paid(request.node, *reported)
        if reply.reported:
            self._estimator.learn(request.node, request.messages, *reported)
            self._limiter.correct(permit, sum(reported))
            return reported
        return estimate if reply.problem is None else reported

    def _note_failure(
        self, request: Request, reply: Reply, error: ModelCallError, attempt: int
    ) -> None:
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
