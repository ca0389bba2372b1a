"""Chat completions asked for with less work for each than OpenAI's package does.

Before a request the package looks through every field of the messages and of a schema for what it
may have to convert, and makes objects of every part of the answer, of which LangChain makes a
dictionary again. That is half of the time that a call takes of the processor. Chat messages hold
nothing to convert, and LangChain reads the answer's dictionary as well.

To be imported where OpenAI's package is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

_FOR_THE_PACKAGE = frozenset({"extra_headers", "extra_query", "timeout"})


def send_directly(model: ChatOpenAI) -> None:
    """Have a model's plain calls sent directly; what is streamed or parsed goes as it did.

    Headers, time limits, and what errors become, are still those of the package: only what is done
    to the body of the request and of the answer is left out.

    Args:
        model: The model.
    """
    client = model.root_async_client
    if isinstance(client, AsyncOpenAI) and model.async_client is client.chat.completions:
        model.async_client = _Completions(client)


class _Completions:
    """In place of the package's own object, of which it offers all else."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._usual = client.chat.completions
        self.with_raw_response = _RawCompletions(client)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)


class _RawCompletions:
    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client
        self._usual = client.chat.completions.with_raw_response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)

    async def create(self, **given: Any) -> Any:
        """Ask; the answer's ``parse()`` is what LangChain reads."""
        if given.get("stream") or not _FOR_THE_PACKAGE.isdisjoint(given):
            return await self._usual.create(**given)
        added = given.pop("extra_body", None) or {}
        reply = await self._client.post(
            "/chat/completions", cast_to=httpx2.Response, body={**given, **added}
        )
        return _RawCompletion(reply)


@dataclass(frozen=True)
class _RawCompletion:
    http_response: httpx2.Response

    @property
    def headers(self) -> httpx2.Headers:
        return self.http_response.headers

    def parse(self) -> object:
        """The answer; as text if it is none, which LangChain tells of."""
        try:
            told: object = self.http_response.json()
        except ValueError:
            return self.http_response.text
        if isinstance(told, dict):
            # As in the package's objects, for which LangChain has another error than for a gap.
            told.setdefault("choices", None)
            if _refuses(told):
                # LangChain sees a refusal in objects alone.
                return ChatCompletion.model_construct(**told)
        return told


def _refuses(told: dict[str, Any]) -> bool:
    choices = told.get("choices")
    if not isinstance(choices, list):
        return False
    messages = [each.get("message") for each in choices if isinstance(each, dict)]
    return any(isinstance(each, dict) and each.get("refusal") for each in messages)
