"""The embedded model as a LangChain chat model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict, Field

from agentrec.llm.catalog_lm.batching import MicroBatcher
from agentrec.llm.catalog_lm.folder import CatalogModel, load_model
from agentrec.llm.catalog_lm.generation import Sampling, rank_candidates, write_words
from agentrec.llm.catalog_lm.reading import CompactPrompt, read_prompt
from agentrec.llm.catalog_lm.wording import HINT_END, sentences

MAX_BATCH = 128

WHAT_I_AM = (
    "I am a small model taught from a catalogue. I rank candidates, criticise and diagnose"
    " rankings and write hints, when a prompt of those kinds asks me to; I know nothing else."
)

_Request = tuple[CompactPrompt, Sampling]


class CatalogChatModel(BaseChatModel):
    """Answers the same prompts as any other chat model, from a small network of its own.

    A rule-distilled stand-in for development, tests and demos. It runs in this process, on the
    CPU; concurrent calls are computed in one batch.

    Attributes:
        catalog_model: The trained model.
        temperature: 0 for the most probable answer (the default), else up to 2.
        seed: Seed of draws when the temperature is above 0.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, ignored_types=(cached_property,))

    catalog_model: CatalogModel
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = 0

    @classmethod
    def from_folder(cls, folder: Path | str, temperature: float = 0.0) -> CatalogChatModel:
        """Load a model folder.

        Raises:
            InputError: If it is not such a folder.
        """
        return cls(catalog_model=load_model(Path(folder)), temperature=temperature)

    @property
    def _llm_type(self) -> str:
        return "catalog-lm"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.catalog_model.name,
            "temperature": self.temperature,
            "seed": self.seed,
        }

    @cached_property
    def _batcher(self) -> MicroBatcher[_Request, list[str]]:
        return MicroBatcher(self._answer_batch, MAX_BATCH)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = read_prompt(messages, self.catalog_model.vocabulary)
        if prompt is None:
            return self._result(WHAT_I_AM, messages, stop)
        lines = self._batcher.submit((prompt, self._sampling(kwargs))).result()
        return self._result("\n".join(lines), messages, stop)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = read_prompt(messages, self.catalog_model.vocabulary)
        if prompt is None:
            return self._result(WHAT_I_AM, messages, stop)
        future = self._batcher.submit((prompt, self._sampling(kwargs)))
        lines = await asyncio.wrap_future(future)
        return self._result("\n".join(lines), messages, stop)

    def _sampling(self, options: dict[str, Any]) -> Sampling:
        return Sampling(
            temperature=float(options.get("temperature", self.temperature)),
            seed=int(options.get("seed", self.seed)),
        )

    def _answer_batch(self, requests: Sequence[_Request]) -> list[list[str]]:
        answers: dict[int, list[str]] = {}
        ranking = [n for n, (p, _) in enumerate(requests) if p.task == "rank"]
        if ranking:
            orders = rank_candidates(
                self.catalog_model,
                [requests[n][0] for n in ranking],
                [requests[n][1] for n in ranking],
            )
            for n, order in zip(ranking, orders, strict=True):
                prompt = requests[n][0]
                named = [prompt.lines[place] for place in order[: prompt.count]]
                answers[n] = [f"{place}. {line}" for place, line in enumerate(named, start=1)]
        writing = [n for n, (p, _) in enumerate(requests) if p.task != "rank"]
        if writing:
            texts = write_words(
                self.catalog_model,
                [requests[n][0] for n in writing],
                [requests[n][1] for n in writing],
            )
            for n, words in zip(writing, texts, strict=True):
                answers[n] = _as_lines(words, requests[n][0])
        return [answers[n] for n in range(len(requests))]

    def _result(
        self, text: str, messages: Sequence[BaseMessage], stop: Sequence[str] | None
    ) -> ChatResult:
        for mark in stop or ():
            text = text.split(mark, 1)[0] if mark else text
        read = sum(len(message.text.split()) for message in messages)
        written = len(text.split())
        message = AIMessage(
            text,
            response_metadata={"model_name": self.catalog_model.name},
            usage_metadata=UsageMetadata(
                input_tokens=read, output_tokens=written, total_tokens=read + written
            ),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def _as_lines(words: Sequence[str], prompt: CompactPrompt) -> list[str]:
    if prompt.task != "hints":
        return [sentences(words)]
    hints: list[list[str]] = [[]]
    for word in words:
        if word == HINT_END:
            hints.append([])
        else:
            hints[-1].append(word)
    written = [hint for hint in hints if hint][: prompt.count]
    return [f"{place}. {sentences(hint)}" for place, hint in enumerate(written, start=1)]
