"""Chat completions asked for with less work for each than OpenAI's package does.

Before a request the package looks through every field of the messages and of a schema for what it
may have to convert, and makes objects of every part of the answer, of which LangChain makes a
dictionary again: about half of what a call takes of the processor. Chat messages and schemas hold
nothing to convert, and LangChain reads the answer's dictionary as well.

To be imported where OpenAI's package is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, ContentFilterFinishReasonError, LengthFinishReasonError
from openai.types.chat import ChatCompletion

# What is no part of the body, or what the package has to look into.
_FOR_THE_PACKAGE = frozenset({"extra_headers", "extra_query", "timeout"})
_FOR_ITS_PARSER = _FOR_THE_PACKAGE | {"tools"}


def send_directly(model: ChatOpenAI) -> None:
    """Have a model's calls sent directly, and those whose answers are to fit a JSON schema.

    Headers, time limits, and what errors become, are still those of the package: only what is done
    to the body of the request and of the answer is left out. All other calls, such as those that
    are streamed, go as they did.

    Args:
        model: The model.
    """
    client = model.root_async_client
    if isinstance(client, AsyncOpenAI) and model.async_client is client.chat.completions:
        own = _RawCompletions(client)
        usual = client.chat.completions.with_raw_response
        raw = _Replaced(usual, {"create": own.create, "parse": own.parse})
        completions = _Replaced(client.chat.completions, {"with_raw_response": raw})
        chat = _Replaced(client.chat, {"completions": completions})
        model.async_client = completions
        model.root_async_client = _Replaced(client, {"chat": chat})


class _Replaced:
    """An object of the package's, but for some of its attributes."""

    def __init__(self, usual: object, attributes: Mapping[str, object]) -> None:
        self._usual = usual
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # A copy that is being made has nothing to ask yet.
            raise AttributeError(name)
        return getattr(self._usual, name)


class _RawCompletions:
    """Asks; ``parse()`` of what it returns is what LangChain reads."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client
        self._usual = client.chat.completions.with_raw_response

    async def create(self, **given: Any) -> Any:
        if given.get("stream") or not _FOR_THE_PACKAGE.isdisjoint(given):
            return await self._usual.create(**given)
        return _RawCompletion(await self._post(given))

    async def parse(self, **given: Any) -> Any:
        wanted = given.get("response_format")
        if not isinstance(wanted, Mapping) or not _FOR_ITS_PARSER.isdisjoint(given):
            return await self._usual.parse(**given)
        return _FormedCompletion(await self._post({"stream": False, **given}))

    async def _post(self, given: Mapping[str, Any]) -> httpx2.Response:
        body = {name: value for name, value in given.items() if name != "extra_body"}
        body |= given.get("extra_body") or {}
        return await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body)


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
            # As in the package's objects: LangChain tells of nothing there in another way than of
            # a gap.
            told.setdefault("choices", None)
            messages = [choice.get("message") for choice in _choices(told)]
            if any(isinstance(each, dict) and each.get("refusal") for each in messages):
                # Of which LangChain looks in objects alone.
                return ChatCompletion.model_construct(**told)
        return told


class _FormedCompletion(_RawCompletion):
    def parse(self) -> object:
        """The answer.

        Raises:
            LengthFinishReasonError: If it stopped at its token limit.
            ContentFilterFinishReasonError: If a filter stopped it.
        """
        told = super().parse()
        if isinstance(told, dict):
            reasons = {choice.get("finish_reason") for choice in _choices(told)}
            if "length" in reasons:
                raise LengthFinishReasonError(completion=ChatCompletion.model_construct(**told))
            if "content_filter" in reasons:
                raise ContentFilterFinishReasonError
        return told


def _choices(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = told.get("choices")
    told_of = choices if isinstance(choices, list) else ()
    return [each for each in told_of if isinstance(each, dict)]
