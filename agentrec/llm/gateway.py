"""The one way to a language model: journaled, limited, counted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from asyncio_throttle.throttler import Throttler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

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
        if requests_per_minute is not None and requests_per_minute <= 0:
            raise ValueError("requests_per_minute must be above 0")
        self.model = model
        self.name = name
        self._journal = journal
        self._kept: dict[str, JournaledAnswer] = {}
        self._in_flight: dict[str, asyncio.Task[JournaledAnswer]] = {}
        self._slots = asyncio.Semaphore(max_concurrency)
        # One call an interval instead of a minute's quota at once; behind the lock only one
        # waiter polls, first come first served.
        self._throttle = (
            None
            if requests_per_minute is None
            else Throttler(rate_limit=1, period=60.0 / requests_per_minute)
        )
        self._turn = asyncio.Lock()
        self._made: Counter[str] = Counter()
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
        """
        key = self.key(messages, sample)
        known = self._kept.get(key) if self._journal is None else self._journal.get(key)
        if known is not None:
            self._cached[node] += 1
            return known.text
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.create_task(self._call(node, key, messages))
            self._in_flight[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        else:
            self._cached[node] += 1
        # Shielded: a cancelled caller must not throw away what was paid for, nor what another
        # caller waits for.
        return (await asyncio.shield(task)).text

    def key(self, messages: Sequence[BaseMessage], sample: int = 0) -> str:
        """Content-derived key of a request."""
        content = [self.name, sample, *([message.type, message.text] for message in messages)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def calls(self) -> Mapping[str, Mapping[str, int]]:
        """Calls made to the model, and saved because the answer was there, by node."""
        return {"made": dict(self._made), "cached": dict(self._cached)}

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens read and written by the calls made, as the model reports them."""
        return {"input": self._tokens["input"], "output": self._tokens["output"]}

    async def aclose(self) -> None:
        """Wait for calls in flight, so that their answers are kept."""
        if self._in_flight:
            await asyncio.gather(*self._in_flight.values(), return_exceptions=True)

    async def _call(self, node: str, key: str, messages: Sequence[BaseMessage]) -> JournaledAnswer:
        async with self._slots:
            if self._throttle is not None:
                async with self._turn:
                    await self._throttle.acquire()  # type: ignore[no-untyped-call]
            try:
                message = await self.model.ainvoke(list(messages))
            except Exception as error:
                raise as_model_call_error(error) from error
        text = message.text
        if not text.strip():
            raise ModelCallError("the model answered nothing", kind="malformed")
        usage = message.usage_metadata
        answer = JournaledAnswer(
            text,
            0 if usage is None else usage["input_tokens"],
            0 if usage is None else usage["output_tokens"],
        )
        self._made[node] += 1
        self._tokens["input"] += answer.input_tokens
        self._tokens["output"] += answer.output_tokens
        if self._journal is None:
            self._kept[key] = answer
        else:
            await self._journal.put(key, node, answer)
        return answer

    def _finished(self, key: str, task: asyncio.Task[JournaledAnswer]) -> None:
        self._in_flight.pop(key, None)
        if not task.cancelled():
            # Looked at, so that a failure nobody waits for any more is not reported twice.
            task.exception()
