"""Answers for a batch of compact prompts: ranked candidates, or words."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.forward import last_states, last_states_with_shared_prefixes
from agentrec.embedded_model.prompt_parser import CompactPrompt
from agentrec.embedded_model.text_grammar import HINT_END, QUESTION_LEAD, factor_token
from agentrec.embedded_model.vocabulary import END, PAD, SPECIAL, Vocabulary, prompt_tokens

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class MicroBatcher(Generic[Request, Answer]):
    """Runs a batch function on the requests that have queued since its last run.

    There is no timer: a single request is computed at once, and while one batch is computed the
    next one queues. All work happens in one thread, which is started on first use.

    Args:
        compute: Called with 1 to ``max_batch`` requests; returns one answer each, in order. If
            it raises, every request of the batch fails with that error.
        max_batch: Most requests per call.
    """

    def __init__(
        self, compute: Callable[[Sequence[Request]], list[Answer]], max_batch: int
    ) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._waiting: deque[tuple[Request, Future[Answer]]] = deque()
        self._lock = threading.Lock()
        self._running = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-lm")

    def submit(self, request: Request) -> Future[Answer]:
        """Queue a request; never blocks. A cancelled future's request is not computed."""
        future: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((request, future))
            if not self._running:
                self._running = True
                self._thread.submit(self._drain)
        return future

    def _drain(self) -> None:
        while True:
            with self._lock:
                taken = [
                    self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))
                ]
                if not taken:
                    self._running = False
                    return
            batch = [(r, f) for r, f in taken if f.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                answers = self._compute([request for request, _ in batch])
                if len(answers) != len(batch):
                    raise RuntimeError(f"{len(batch)} requests got {len(answers)} answers")
            except BaseException as error:  # passed to every caller
                for _, future in batch:
                    future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)


MAX_WORDS = 64
_MAX_PHRASES = 2

OnWord = Callable[[int, str], None]
"""Called with the index of a prompt and the next word of its answer."""


class CachedDecoding:
    """Rows of tokens being written, with the network's key-value cache.

    Args:
        network: The network.
        rows: Token ids of each row, at least one row; they are padded in front.
        pad: The padding token.
    """

    def __init__(self, network: GPT2LMHeadModel, rows: Sequence[Sequence[int]], pad: int) -> None:
        width = max(map(len, rows))
        self._network = network
        self._step = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
        self._mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        self._cache: Any = None

    def states(self) -> Tensor:
        """Compute the state of each row's last token, ``[num_rows, width]``; once a step."""
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -self._step.shape[1] :]
        output = self._network.transformer(
            input_ids=self._step,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        states: Tensor = output.last_hidden_state[:, -1]
        return states

    def add(self, tokens: Sequence[Sequence[int]]) -> None:
        """Append the same number of token ids to every row."""
        self._step = torch.tensor(tokens)
        self._mask = torch.cat([self._mask, torch.ones_like(self._step)], dim=1)


@dataclass(frozen=True)
class AnswerGrammar:
    """Which tokens may come next in questions and preferences, so that they can be parsed.

    The network chooses which properties are named; the grammar ensures that lines end, just as a
    ranking names each candidate once.

    Attributes:
        prompt: What was asked.
        vocabulary: The tokens.
        phrases: Tokens of the properties that can be named.
    """

    prompt: CompactPrompt
    vocabulary: Vocabulary
    phrases: frozenset[int]

    def allowed(self, written: Sequence[int]) -> frozenset[int] | None:
        """Return the tokens that may come next; ``None`` for any."""
        if not self.phrases:
            return None
        if self.prompt.task == "question":
            return self._next_in_question(written)
        if self.prompt.task == "preference":
            return self._next_in_preference(written)
        return None

    def _next_in_question(self, written: Sequence[int]) -> frozenset[int]:
        if len(written) < len(QUESTION_LEAD):
            return self._words(QUESTION_LEAD[len(written)])
        index = len(written) - len(QUESTION_LEAD)
        if index > 0 and len(self.phrases) == 1:
            # There is nothing to choose between.
            return self._words("?")
        tokens = (self.phrases, self._words("or"), self.phrases, self._words("?"))
        return tokens[min(index, len(tokens) - 1)]

    def _next_in_preference(self, written: Sequence[int]) -> frozenset[int]:
        end, colon = self.vocabulary.ids[HINT_END], self.vocabulary.ids[":"]
        start = len(written) - next(
            (n for n, token in enumerate(reversed(written)) if token == end), len(written)
        )
        line = written[start:]
        if not line:
            left = self._factors() - set(written)
            return (left | self._words(END)) if left and written else (left or self._words(END))
        if len(line) == 1:
            return frozenset({colon})
        if sum(token in self.phrases for token in line) == _MAX_PHRASES:
            return self._words(HINT_END)
        left = (self._phrases_of(line[0]) or self.phrases) - set(line)
        if line[-1] == colon or line[-1] == self.vocabulary.ids["and"]:
            return left
        return self._words("and", HINT_END) if left else self._words(HINT_END)

    def _factors(self) -> frozenset[int]:
        """Return the requested factors; all that the model knows where none is known."""
        known = self._words(*(factor_token(factor) for factor in self.vocabulary.factors))
        return known & frozenset(self.prompt.sections.get("<factors>", ())) or known

    def _phrases_of(self, factor: int) -> frozenset[int]:
        """Return the phrases that name a factor; if there are none, those that name no factor."""
        names = [factor_token(factor) for factor in self.vocabulary.factors]
        requested = next((name for name in names if self.vocabulary.ids[name] == factor), "")
        texts = {p: f"_{self._word_of[p]}_" for p in self.phrases}
        own = frozenset(p for p, text in texts.items() if f"_{requested}_" in text)
        unnamed = frozenset(
            p for p, text in texts.items() if not any(f"_{name}_" in text for name in names)
        )
        return own or unnamed

    @cached_property
    def _word_of(self) -> dict[int, str]:
        return {token: word for word, token in self.vocabulary.ids.items()}

    def _words(self, *words: str) -> frozenset[int]:
        return frozenset(self.vocabulary.ids[word] for word in words)


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        temperature: 0 for the most probable answer, else the softmax temperature.
        seed: Seed of the draw; the same seed and prompt give the same answer.
    """

    temperature: float = 0.0
    seed: int = 0

    def noise(self, prompt: Sequence[int]) -> np.random.Generator:
        """Return the generator of a prompt: others get other noise under the same seed."""
        return np.random.default_rng([self.seed & 0xFFFFFFFF, *prompt])


@torch.inference_mode()
def rank_candidates(
    model: CatalogModel, prompts: Sequence[CompactPrompt], samplings: Sequence[Sampling]
) -> list[list[int]]:
    """Order each prompt's candidates by the probability of naming them first.

    With a temperature the order is a Plackett-Luce draw from the same probabilities. Candidates
    that the model does not know come last.

    Returns:
        For each prompt the indices of its candidates, best first.
    """
    rows = [prompt_tokens(p.task, p.sections, model.vocabulary) for p in prompts]
    logits = first_choice_logits(model, rows)
    orders = []
    for row, tokens, prompt, sampling in zip(logits, rows, prompts, samplings, strict=True):
        known = np.array(prompt.known, dtype=bool)
        scores = np.full(len(known), -np.inf)
        own = row[: len(known)]
        # Rounded: the last bits depend on the rest of the batch and must not decide.
        scores[: len(own)] = np.round(own, 3)
        scores[~known] = -np.inf
        if sampling.temperature > 0:
            noise = sampling.noise(tokens).gumbel(size=len(known))
            scores = scores / sampling.temperature + noise
        orders.append(np.lexsort((np.arange(len(scores)), -scores)).tolist())
    return orders


@torch.inference_mode()
def first_choice_logits(
    model: CatalogModel, rows: Sequence[Sequence[int]]
) -> npt.NDArray[np.float64]:
    """Compute the logits of every handle as first choice, ``[num_rows, MAX_CANDIDATES]``.

    A beginning that several prompts share, as one session under many hints does, is computed
    once.
    """
    vocabulary = model.vocabulary
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(_before_hint(model, row), []).append(index)
    handles = model.network.transformer.wte.weight[vocabulary.first_handle : vocabulary.first_item]
    logits = np.zeros((len(rows), len(handles)))
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for prefix in groups:
        by_length.setdefault(len(prefix), []).append(prefix)
    for prefixes in by_length.values():
        members = [index for prefix in prefixes for index in groups[prefix]]
        if len(members) == len(prefixes):
            tokens, last = _padded(model, [rows[index] for index in members])
            states = last_states(model.network, tokens, last)
        else:
            owners = torch.tensor([n for n, prefix in enumerate(prefixes) for _ in groups[prefix]])
            tokens, last = _padded(model, [rows[index][len(prefixes[0]) :] for index in members])
            states = last_states_with_shared_prefixes(
                model.network, torch.tensor(prefixes), owners, tokens, last
            )
        logits[members] = (states @ handles.T).double().numpy()
    return logits


@torch.inference_mode()
def write_words(
    model: CatalogModel,
    prompts: Sequence[CompactPrompt],
    samplings: Sequence[Sampling],
    on_word: OnWord | None = None,
) -> list[list[str]]:
    """Continue each prompt with words until the end mark, a question mark or ``MAX_WORDS``.

    Args:
        model: The model.
        prompts: Prompts of any task but ranking.
        samplings: How each is drawn.
        on_word: Called with each word as soon as it is known.
    """
    vocabulary = model.vocabulary
    rows = [prompt_tokens(p.task, p.sections, vocabulary) for p in prompts]
    pad, end = vocabulary.ids[PAD], vocabulary.ids[END]
    decoding = CachedDecoding(model.network, rows, pad)
    generators = [s.noise(row) for s, row in zip(samplings, rows, strict=True)]
    table = model.network.transformer.wte.weight[: vocabulary.first_handle]
    barred = [token for token in range(len(SPECIAL)) if token != end]
    single_use = {vocabulary.ids[word] for word in vocabulary.words if "_" in word}
    breaks = {vocabulary.ids[HINT_END], vocabulary.ids["."]}
    names, question = (*SPECIAL, *vocabulary.words), vocabulary.ids["?"]
    phrases = frozenset(single_use) - {
        vocabulary.ids[factor_token(factor)] for factor in vocabulary.factors
    }
    grammars = [AnswerGrammar(prompt, vocabulary, phrases) for prompt in prompts]
    written: list[list[int]] = [[] for _ in rows]
    finished = [False] * len(rows)
    for _ in range(MAX_WORDS):
        logits = (decoding.states() @ table.T).double().numpy()
        logits[:, barred] = -np.inf
        chosen = []
        for row, sampling in enumerate(samplings):
            scores = np.round(logits[row], 3)
            scores[_phrases_in_sentence(written[row], single_use, breaks)] = -np.inf
            allowed = grammars[row].allowed(written[row])
            if allowed is not None:
                scores[[token not in allowed for token in range(len(scores))]] = -np.inf
            elif not written[row]:
                # An empty answer would count as a failed call.
                scores[[end, *breaks]] = -np.inf
            if sampling.temperature > 0:
                scores = scores / sampling.temperature + generators[row].gumbel(size=len(scores))
            token = int(scores.argmax())
            finished[row] = finished[row] or token == end
            chosen.append(pad if finished[row] else token)
            if not finished[row]:
                written[row].append(token)
                finished[row] = token == question
                if on_word is not None:
                    on_word(row, names[token])
        if all(finished):
            break
        decoding.add([[token] for token in chosen])
    return [[names[token] for token in row] for row in written]


def _phrases_in_sentence(
    written: Sequence[int], phrases: Container[int], breaks: Container[int]
) -> list[int]:
    """Return the phrases of the sentence being written, which must not be repeated."""
    used: list[int] = []
    for token in reversed(written):
        if token in breaks:
            break
        if token in phrases:
            used.append(token)
    return used


def _before_hint(model: CatalogModel, row: Sequence[int]) -> tuple[int, ...]:
    """Return the part of a prompt that is the same under every hint."""
    hint = model.vocabulary.ids["<hint>"]
    return tuple(row[: row.index(hint)] if hint in row else row[:-1])


def _padded(
    model: CatalogModel, rows: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows as one tensor, and the index of each one's last token."""
    width, pad = max(map(len, rows)), model.vocabulary.ids[PAD]
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    return tokens, torch.tensor([len(row) - 1 for row in rows])
