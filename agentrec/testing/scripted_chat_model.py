"""A chat model for tests: it answers from a script and records its calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr

Reply = str | Exception | Callable[[Sequence[BaseMessage]], str]


class ScriptedChatModel(BaseChatModel):
    """Answers each call with the next reply of a script.

    A reply is a text, an exception to raise, or a function of the messages that returns the text
    and is run the moment the call starts. Tokens are reported as one a white-space separated
    word. A call for which there is no reply raises ``AssertionError``; because much code under
    test turns every exception into one of its own, ``assert_exhausted`` reports it again.

    Args:
        replies: The script.
        latency: Seconds that an asynchronous call takes, at least 0; a synchronous one does not
            wait.
        model_name: The name it reports in ``response_metadata``.
    """

    model_name: str = "scripted"
    latency: float = Field(default=0.0, ge=0)

    _replies: deque[Reply] = PrivateAttr(default_factory=deque)
    _calls: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _surplus: int = PrivateAttr(default=0)
    _running: int = PrivateAttr(default=0)
    _most_at_once: int = PrivateAttr(default=0)

    def __init__(
        self, replies: Iterable[Reply] = (), *, latency: float = 0.0, model_name: str = "scripted"
    ) -> None:
        # The base class is a pydantic model whose own signature takes fields alone.
        fields: dict[str, Any] = {"latency": latency, "model_name": model_name}
        super().__init__(**fields)
        self._replies.extend(replies)

    @property
    def calls(self) -> list[list[BaseMessage]]:
        """The messages of every call so far, surplus ones too, in the order they started."""
        return self._calls

    @property
    def most_at_once(self) -> int:
        """Most asynchronous calls that ran at the same time."""
        return self._most_at_once

    def add(self, *replies: Reply) -> None:
        """Append replies to the script."""
        self._replies.extend(replies)

    def assert_exhausted(self) -> None:
        """Check that there were as many calls as replies.

        Raises:
            AssertionError: If replies are left or there were too many calls.
        """
        if self._surplus:
            raise AssertionError(f"{self._surplus} calls found no reply in the script")
        if self._replies:
            raise AssertionError(f"{len(self._replies)} scripted replies were never used")

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(messages, self._answer(messages))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._running += 1
        self._most_at_once = max(self._most_at_once, self._running)
        try:
            try:
                return self._result(messages, self._answer(messages))
            finally:
                # Failures take as long as answers do.
                await asyncio.sleep(self.latency)
        finally:
            self._running -= 1

    def _answer(self, messages: list[BaseMessage]) -> str:
        self._calls.append(list(messages))
        if not self._replies:
            self._surplus += 1
            asked = messages[-1].text[:200] if messages else ""
            raise AssertionError(
                f"call {len(self._calls)} finds no reply in the script; it asks {asked!r}"
            )
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, str) else reply(messages)

    def _result(self, messages: list[BaseMessage], text: str) -> ChatResult:
        read = sum(len(message.text.split()) for message in messages)
        written = len(text.split())
        answer = AIMessage(
            text,
            usage_metadata=UsageMetadata(
                input_tokens=read, output_tokens=written, total_tokens=read + written
            ),
            response_metadata={"model_name": self.model_name},
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])
