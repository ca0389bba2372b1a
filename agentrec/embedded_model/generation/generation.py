"""Answers for a batch of compact prompts: ranked candidates, or words."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.generation.decoding import CachedDecoding
from agentrec.embedded_model.generation.forms import Form
from agentrec.embedded_model.generation.reading import CompactPrompt
from agentrec.embedded_model.network.forward import last_states, last_states_behind
from agentrec.embedded_model.network.prompt_tokens import prompt_tokens
from agentrec.embedded_model.network.vocabulary import END, PAD, SPECIAL
from agentrec.embedded_model.teaching.wording import HINT_END, factor_token

MAX_WORDS = 64

OnWord = Callable[[int, str], None]
"""Called with the number of a prompt and the next word of its answer."""


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
        """Source of the draw: other prompts get other noise under the same seed."""
        return np.random.default_rng([self.seed & 0xFFFFFFFF, *prompt])


@torch.inference_mode()
def rank_candidates(
    model: CatalogModel, prompts: Sequence[CompactPrompt], samplings: Sequence[Sampling]
) -> list[list[int]]:
    """Order each prompt's candidates by the probability of naming them first.

    With a temperature the order is a Plackett-Luce draw from the same probabilities. A candidate
    the model does not know comes last.

    Returns:
        For each prompt the places of its candidates, best first.
    """
    rows = [prompt_tokens(p.task, p.sections, model.vocabulary) for p in prompts]
    logits = first_place_logits(model, rows)
    orders = []
    for row, tokens, prompt, sampling in zip(logits, rows, prompts, samplings, strict=True):
        known = np.array(prompt.known, dtype=bool)
        scores = np.full(len(known), -np.inf)
        own = row[: len(known)]
        # Rounded, so that the last bits, which depend on what else was in the batch, decide
        # nothing.
        scores[: len(own)] = np.round(own, 3)
        scores[~known] = -np.inf
        if sampling.temperature > 0:
            noise = sampling.noise(tokens).gumbel(size=len(known))
            scores = scores / sampling.temperature + noise
        orders.append(np.lexsort((np.arange(len(scores)), -scores)).tolist())
    return orders


@torch.inference_mode()
def first_place_logits(
    model: CatalogModel, rows: Sequence[Sequence[int]]
) -> npt.NDArray[np.float64]:
    """Logits of every handle for the first place, ``[num_rows, MAX_CANDIDATES]``.

    Prompts that begin alike, as one session under many hints does, are read once as far as they
    are alike.
    """
    vocabulary = model.vocabulary
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(_before_hint(model, row), []).append(place)
    handles = model.network.transformer.wte.weight[vocabulary.first_handle : vocabulary.first_item]
    logits = np.zeros((len(rows), len(handles)))
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for prefix in groups:
        by_length.setdefault(len(prefix), []).append(prefix)
    for prefixes in by_length.values():
        members = [place for prefix in prefixes for place in groups[prefix]]
        if len(members) == len(prefixes):
            tokens, last = _padded(model, [rows[place] for place in members])
            states = last_states(model.network, tokens, last)
        else:
            owners = torch.tensor([n for n, prefix in enumerate(prefixes) for _ in groups[prefix]])
            tokens, last = _padded(model, [rows[place][len(prefixes[0]) :] for place in members])
            states = last_states_behind(model.network, torch.tensor(prefixes), owners, tokens, last)
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
    barred = [place for place in range(len(SPECIAL)) if place != end]
    said_once = {vocabulary.ids[word] for word in vocabulary.words if "_" in word}
    breaks = {vocabulary.ids[HINT_END], vocabulary.ids["."]}
    names, question = (*SPECIAL, *vocabulary.words), vocabulary.ids["?"]
    phrases = frozenset(said_once) - {
        vocabulary.ids[factor_token(factor)] for factor in vocabulary.factors
    }
    forms = [Form(prompt, vocabulary, phrases) for prompt in prompts]
    written: list[list[int]] = [[] for _ in rows]
    finished = [False] * len(rows)
    for _ in range(MAX_WORDS):
        logits = (decoding.states() @ table.T).double().numpy()
        logits[:, barred] = -np.inf
        chosen = []
        for row, sampling in enumerate(samplings):
            scores = np.round(logits[row], 3)
            scores[_said(written[row], said_once, breaks)] = -np.inf
            allowed = forms[row].allowed(written[row])
            if allowed is not None:
                scores[[place not in allowed for place in range(len(scores))]] = -np.inf
            elif not written[row]:
                # An answer without a word would be taken for a failed call.
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


def _said(written: Sequence[int], phrases: Container[int], breaks: Container[int]) -> list[int]:
    """Phrases of the sentence being written: none is said twice."""
    said: list[int] = []
    for token in reversed(written):
        if token in breaks:
            break
        if token in phrases:
            said.append(token)
    return said


def _before_hint(model: CatalogModel, row: Sequence[int]) -> tuple[int, ...]:
    """A prompt as far as it is the same under every hint."""
    hint = model.vocabulary.ids["<hint>"]
    return tuple(row[: row.index(hint)] if hint in row else row[:-1])


def _padded(
    model: CatalogModel, rows: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as one tensor, and the place of the last token of each."""
    width, pad = max(map(len, rows)), model.vocabulary.ids[PAD]
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    return tokens, torch.tensor([len(row) - 1 for row in rows])
