"""Ending a text that comes in pieces before the first of some sequences."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from agentrec.embedded_model.decoding import MicroBatcher, Sampling, rank_candidates, write_words
from agentrec.embedded_model.folder import CatalogModel, load_model
from agentrec.embedded_model.prompt_parser import CompactPrompt, parse_prompt
from agentrec.embedded_model.text_grammar import Detokenizer


class StopSequences:
    """Cuts a text that comes in pieces before the first stop sequence, even a split one.

    Args:
        sequences: The texts to stop before; empty ones are ignored.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = [sequence for sequence in sequences if sequence]
        self._held_back = max((len(sequence) for sequence in self._sequences), default=1) - 1
        self._held = ""
        self._stopped = False

    def feed(self, piece: str) -> str:
        """Return what can be passed on of the text up to and including this piece."""
        if self._stopped:
            return ""
        text = self._held + piece
        # The sequence that is complete first, so that pieces and the whole text are cut alike.
        found = [(start + len(s), start) for s in self._sequences if (start := text.find(s)) >= 0]
        if found:
            self._stopped, self._held = True, ""
            return text[: min(found)[1]]
        # The end may be the beginning of a sequence.
        cut = max(0, len(text) - self._held_back)
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """Return the text held back; call it once the text is complete."""
        held, self._held = self._held, ""
        return held


MAX_BATCH = 128

SELF_DESCRIPTION = (
    "I am a small model taught from a catalogue. I rank candidates, criticise and diagnose"
    " rankings, write hints and preferences and ask questions, when a prompt of those kinds asks"
    " me to; I know nothing else."
)


@dataclass(frozen=True)
class _Request:
    """One call.

    Attributes:
        prompt: The parsed prompt; ``None`` if it names no task that the model knows.
        sampling: How the answer is drawn.
        emit: Called in the computing thread with each piece of the answer.
    """

    prompt: CompactPrompt | None
    sampling: Sampling
    emit: Callable[[str], None]


class CatalogChatModel(BaseChatModel):
    """Answers the same prompts as any other chat model, from a small network of its own.

    It is a rule-distilled stand-in for development, tests and demos. It runs in this process on
    the CPU. Concurrent calls are computed in one batch; streamed ones yield each word, or line of
    a ranking, as soon as it is known.

    Attributes:
        catalog_model: The trained model.
        temperature: 0 for the most probable answer (the default), at most 2. A call may override
            it.
        seed: Seed of draws when the temperature is above 0. A call may override it.
        stop: Texts before which every answer ends. A call may override them.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    catalog_model: CatalogModel
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = 0
    stop: list[str] | None = None
    # Copies with another temperature or seed share it, so that their calls are batched too.
    _batchers: list[MicroBatcher[_Request, None]] = PrivateAttr(default_factory=list)

    @classmethod
    def from_folder(
        cls, folder: Path | str, temperature: float = 0.0, seed: int = 0
    ) -> CatalogChatModel:
        """Load a model folder.

        Raises:
            InputError: If it is not such a folder.
        """
        model = load_model(Path(folder))
        return cls(catalog_model=model, temperature=temperature, seed=seed)

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

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = self._llm_type
        params.setdefault("ls_model_name", self.catalog_model.name)
        return params

    @property
    def _batcher(self) -> MicroBatcher[_Request, None]:
        if not self._batchers:
            self._batchers.append(MicroBatcher(self._answer_batch, MAX_BATCH))
        return self._batchers[0]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces: list[str] = []
        self._submit(messages, kwargs, pieces.append).result()
        return self._result("".join(pieces), messages, stop)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces: list[str] = []
        await asyncio.wrap_future(self._submit(messages, kwargs, pieces.append))
        return self._result("".join(pieces), messages, stop)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        answered = self._submit(messages, kwargs, pieces.put)
        answered.add_done_callback(lambda _: pieces.put(None))
        answer = _StreamedAnswer(StopSequences(self._stops(stop)))
        while (piece := pieces.get()) is not None:
            if (chunk := answer.chunk_of(piece)) is not None:
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        answered.result()
        yield self._last_chunk(answer, messages)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def put(piece: str | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        answered = self._submit(messages, kwargs, put)
        answered.add_done_callback(lambda _: put(None))
        answer = _StreamedAnswer(StopSequences(self._stops(stop)))
        while (piece := await pieces.get()) is not None:
            if (chunk := answer.chunk_of(piece)) is not None:
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        await asyncio.wrap_future(answered)
        yield self._last_chunk(answer, messages)

    def _submit(
        self, messages: Sequence[BaseMessage], options: dict[str, Any], emit: Callable[[str], None]
    ) -> Future[None]:
        return self._batcher.submit(
            _Request(
                parse_prompt(messages, self.catalog_model.vocabulary),
                Sampling(
                    temperature=float(_option(options, "temperature", self.temperature)),
                    seed=int(_option(options, "seed", self.seed)),
                ),
                emit,
            )
        )

    def _answer_batch(self, requests: Sequence[_Request]) -> list[None]:
        ranking: list[tuple[CompactPrompt, _Request]] = []
        writing: list[tuple[CompactPrompt, _Request]] = []
        for request in requests:
            if request.prompt is None:
                for piece in _pieces(SELF_DESCRIPTION):
                    request.emit(piece)
            elif request.prompt.task == "rank":
                ranking.append((request.prompt, request))
            else:
                writing.append((request.prompt, request))
        if ranking:
            self._rank(ranking)
        if writing:
            self._write(writing)
        return [None] * len(requests)

    def _rank(self, requests: Sequence[tuple[CompactPrompt, _Request]]) -> None:
        prompts = [prompt for prompt, _ in requests]
        samplings = [request.sampling for _, request in requests]
        orders = rank_candidates(self.catalog_model, prompts, samplings)
        for (prompt, request), order in zip(requests, orders, strict=True):
            for rank, candidate in enumerate(order[: prompt.count], start=1):
                start = "" if rank == 1 else "\n"
                request.emit(f"{start}{rank}. {prompt.lines[candidate]}")

    def _write(self, requests: Sequence[tuple[CompactPrompt, _Request]]) -> None:
        detokenizers = [Detokenizer(prompt.task, prompt.count) for prompt, _ in requests]

        def on_word(row: int, word: str) -> None:
            requests[row][1].emit(detokenizers[row].add(word))

        write_words(
            self.catalog_model,
            [prompt for prompt, _ in requests],
            [request.sampling for _, request in requests],
            on_word,
        )
        for detokenizer, (_, request) in zip(detokenizers, requests, strict=True):
            request.emit(detokenizer.end())

    def _stops(self, stop: Sequence[str] | None) -> Sequence[str]:
        return (self.stop or ()) if stop is None else stop

    def _result(
        self, text: str, messages: Sequence[BaseMessage], stop: Sequence[str] | None
    ) -> ChatResult:
        stopping = StopSequences(self._stops(stop))
        text = stopping.feed(text) + stopping.flush()
        message = AIMessage(
            text,
            response_metadata=self._metadata(),
            usage_metadata=_usage(messages, len(text.split())),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last_chunk(
        self, answer: _StreamedAnswer, messages: Sequence[BaseMessage]
    ) -> ChatGenerationChunk:
        rest = answer.stopping.flush()
        # Counted over the whole text: a word may have come in several pieces.
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=rest,
                response_metadata=self._metadata(),
                usage_metadata=_usage(messages, len((answer.text + rest).split())),
                chunk_position="last",
            )
        )

    def _metadata(self) -> dict[str, Any]:
        return {"model_name": self.catalog_model.name, "model_provider": self._llm_type}


def _option(options: dict[str, Any], name: str, default: float) -> float:
    value = options.get(name)
    return default if value is None else value


@dataclass
class _StreamedAnswer:
    """The text of a streamed answer so far, up to its stop sequence."""

    stopping: StopSequences
    text: str = ""

    def chunk_of(self, piece: str) -> ChatGenerationChunk | None:
        if not (added := self.stopping.feed(piece)):
            return None
        self.text += added
        return ChatGenerationChunk(message=AIMessageChunk(content=added))


def _pieces(text: str) -> Iterator[str]:
    first, *others = text.split(" ")
    yield first
    for word in others:
        yield f" {word}"


def _usage(messages: Sequence[BaseMessage], written: int) -> UsageMetadata:
    """Count tokens as words between blanks."""
    read = sum(len(message.text.split()) for message in messages)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
