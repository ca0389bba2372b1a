"""The one way to a language model: journaled, limited, counted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from asyncio_throttle.throttler import Throttler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentrec.errors import ModelCallError
from agentrec.llm.call_errors import as_model_call_error
from agentrec.llm.journal import CallJournal, JournaledAnswer


class ModelGateway:
    """Asks a chat model, never twice the same.

    Args:
        model: Any LangChain chat model.
        name: The model's name and parameters, part of every journal key: two models that may
            answer differently need different names.
        journal: Where answers are kept; ``None`` to keep them for this object's life only.
        max_concurrency: Most calls at a time, at least 1.
        requests_per_minute: Most calls a minute, spread evenly; ``None`` for no limit.

    Raises:
        ValueError: If a limit is out of range.
    """

    def __init__(
        self,
        model: BaseChatModel,
        name: str,
        journal: CallJournal | None = None,
        *,
        max_concurrency: int = 64,
        requests_per_minute: float | None = None,
    ) -> None:
        if max_concurrency < 1:
            raise ValueError("max_concurrency must be at least 1")
        if requests_per_minute is not None and not 0 < requests_per_minute < math.inf:
            raise ValueError("requests_per_minute must be a finite number above 0")
        self.model = model
        self.name = name
        self._journal = journal
        self._kept: dict[str, JournaledAnswer] = {}
        self._in_flight: dict[str, _SharedCall] = {}
        self._slots = asyncio.Semaphore(max_concurrency)
        # One call an interval instead of a minute's quota at once; behind the lock only one
        # waiter polls, first come first served.
        self._throttle: Throttler | None = None
        if requests_per_minute is not None:
            period = 60.0 / requests_per_minute
            # It looks again only now and then, which must be short against the interval, or the
            # rate stays far below what is allowed.
            self._throttle = Throttler(1, period, retry_interval=min(0.01, period / 10))
        self._turn = asyncio.Lock()
        self._made: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._cached: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()

    async def ask(self, node: str, messages: Sequence[BaseMessage], sample: int = 0) -> str:
        """Get the model's answer.

        Args:
            node: What the call is for, in counts and the journal.
            messages: The conversation.
            sample: Number of the sample, for models asked several times at a temperature.

        Returns:
            The answer's text.

        Raises:
            ModelCallError: If the call failed; nothing is kept of it.
            AgentRecError: If the answer could not be written to the journal.
        """
        key = self.key(messages, sample)
        known = self._kept.get(key) if self._journal is None else self._journal.get(key)
        if known is not None:
            self._cached[node] += 1
            return known.text
        call = self._in_flight.get(key)
        if call is None:
            call = self._in_flight[key] = _SharedCall()
            call.task = asyncio.create_task(self._call(node, key, messages, call))
            call.task.add_done_callback(partial(self._finished, key, call))
            return (await self._wait(key, call)).text
        answer = await self._wait(key, call)
        self._cached[node] += 1
        return answer.text

    def key(self, messages: Sequence[BaseMessage], sample: int = 0) -> str:
        """Content-derived key of a request.

        It covers all that a provider is sent of a message, and nothing that differs from run to
        run, such as message ids.
        """
        content = [self.name, sample, *(_content(message) for message in messages)]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()

    @property
    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """By node: calls ``made`` to the model, those of them that ``failed``, and ``cached``.

        ``cached`` counts the answers that needed no call of their own, because they were there
        or on the way for another caller.
        """
        return {
            "made": dict(self._made),
            "failed": dict(self._failed),
            "cached": dict(self._cached),
        }

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written by the calls made, as the model reports them."""
        return {"input": self._tokens["input"], "output": self._tokens["output"]}

    async def aclose(self) -> None:
        """Wait for calls in flight, so that their answers are kept."""
        while self._in_flight:
            # Unlike gather, this leaves the calls alone if whoever waits here is cancelled.
            await asyncio.wait([call.task for call in self._in_flight.values()])

    async def _wait(self, key: str, call: _SharedCall) -> JournaledAnswer:
        call.waiting += 1
        try:
            # Shielded: a cancelled caller must not throw away what was paid for, nor what
            # another caller waits for.
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if not call.waiting and not call.sent and not call.task.done():
                # Nobody wants it any more and nothing is paid yet: a run that is stopped must
                # not go on to send all that still queues. Whoever asks next starts afresh.
                self._in_flight.pop(key)
                call.task.cancel()

    async def _call(
        self, node: str, key: str, messages: Sequence[BaseMessage], call: _SharedCall
    ) -> JournaledAnswer:
        async with self._slots:
            if self._throttle is not None:
                async with self._turn:
                    await self._throttle.acquire()  # type: ignore[no-untyped-call]
            call.sent = True
            self._made[node] += 1
            try:
                message = await self.model.ainvoke(list(messages))
            except Exception as error:
                self._failed[node] += 1
                raise as_model_call_error(error) from error
        usage = message.usage_metadata
        answer = JournaledAnswer(
            # Half a surrogate pair is no text: what is seen now is what a journal gives back.
            message.text.encode("utf-8", "replace").decode("utf-8"),
            0 if usage is None else usage["input_tokens"],
            0 if usage is None else usage["output_tokens"],
        )
        # Also for an answer without text, which is paid for like any other.
        self._tokens["input"] += answer.input_tokens
        self._tokens["output"] += answer.output_tokens
        if not answer.text.strip():
            self._failed[node] += 1
            raise ModelCallError("the model answered nothing", kind="malformed")
        if self._journal is None:
            self._kept[key] = answer
        else:
            await self._journal.put(key, node, answer)
        return answer

    def _finished(self, key: str, call: _SharedCall, task: asyncio.Task[JournaledAnswer]) -> None:
        if self._in_flight.get(key) is call:
            del self._in_flight[key]
        if not task.cancelled():
            # Looked at, so that a failure nobody waits for any more is not reported twice.
            task.exception()


@dataclass(eq=False)
class _SharedCall:
    """One call and how many callers wait for it."""

    task: asyncio.Task[JournaledAnswer] = field(init=False)
    waiting: int = 0
    sent: bool = False


def _content(message: BaseMessage) -> list[object]:
    content: list[object] = [message.type, message.content]
    if message.name is not None:
        content.append({"name": message.name})
    if isinstance(message, AIMessage) and message.tool_calls:
        content.append({"tool_calls": message.tool_calls})
    if isinstance(message, ToolMessage):
        content.append({"tool_call_id": message.tool_call_id})
    return content
