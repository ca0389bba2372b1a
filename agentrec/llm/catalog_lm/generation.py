"""Answers for a batch of compact prompts: ranked candidates, or words."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agentrec.llm.catalog_lm.folder import CatalogModel
from agentrec.llm.catalog_lm.prompt_tokens import prompt_tokens
from agentrec.llm.catalog_lm.reading import CompactPrompt
from agentrec.llm.catalog_lm.vocabulary import END, PAD, SPECIAL
from agentrec.llm.catalog_lm.wording import HINT_END

MAX_WORDS = 64


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        temperature: 0 for the most probable answer, else the softmax temperature.
        seed: Seed of the draw; the same seed and prompt give the same answer.
    """

    temperature: float = 0.0
    seed: int = 0


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
    tokens = [prompt_tokens(p.task, p.sections, model.vocabulary) for p in prompts]
    hidden = _last_hidden(model, tokens)
    table = model.network.model.embed_tokens.weight
    logits = (hidden @ table[model.vocabulary.first_item :].T).double().numpy()
    orders = []
    for row, prompt, sampling in zip(logits, prompts, samplings, strict=True):
        places = np.array([-1 if c is None else c for c in prompt.candidates], dtype=np.int64)
        # Rounded, so that the last bits, which depend on what else was in the batch, decide
        # nothing; ties go by catalogue position, never by place in the prompt.
        scores = np.where(places >= 0, np.round(row[places], 3), -np.inf)
        if sampling.temperature > 0:
            draws = np.random.default_rng(sampling.seed).gumbel(size=model.vocabulary.size)
            scores = scores / sampling.temperature + draws[places]
        orders.append(np.lexsort((places, -scores)).tolist())
    return orders


@torch.inference_mode()
def write_words(
    model: CatalogModel, prompts: Sequence[CompactPrompt], samplings: Sequence[Sampling]
) -> list[list[str]]:
    """Continue each prompt with words until the end mark or ``MAX_WORDS``."""
    vocabulary = model.vocabulary
    rows = [prompt_tokens(p.task, p.sections, vocabulary) for p in prompts]
    width = max(len(row) for row in rows)
    pad, end = vocabulary.ids[PAD], vocabulary.ids[END]
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    generators = [np.random.default_rng(sampling.seed) for sampling in samplings]
    table = model.network.model.embed_tokens.weight[: vocabulary.first_item]
    barred = [place for place in range(len(SPECIAL)) if place != end]
    phrases = {place for word, place in vocabulary.ids.items() if "_" in word}
    breaks = {vocabulary.ids[mark] for mark in (HINT_END, ".")}
    written: list[list[int]] = [[] for _ in rows]
    finished = [False] * len(rows)
    cache = None
    step = tokens
    for _ in range(MAX_WORDS):
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -step.shape[1] :]
        output = model.network.model(
            input_ids=step,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        cache = output.past_key_values
        logits = (output.last_hidden_state[:, -1] @ table.T).double().numpy()
        logits[:, barred] = -np.inf
        chosen = []
        for row, sampling in enumerate(samplings):
            scores = np.round(logits[row], 3)
            scores[_said(written[row], phrases, breaks)] = -np.inf
            if sampling.temperature > 0:
                scores = scores / sampling.temperature + generators[row].gumbel(size=len(scores))
            token = int(scores.argmax())
            finished[row] = finished[row] or token == end
            chosen.append(pad if finished[row] else token)
            if not finished[row]:
                written[row].append(token)
        if all(finished):
            break
        step = torch.tensor(chosen)[:, None]
        mask = torch.cat([mask, torch.ones((len(rows), 1), dtype=mask.dtype)], dim=1)
    words = (*SPECIAL, *vocabulary.words)
    return [[words[token] for token in row] for row in written]


def _said(written: Sequence[int], phrases: Container[int], breaks: Container[int]) -> list[int]:
    """Phrases of the sentence being written: none is said twice."""
    said: list[int] = []
    for token in reversed(written):
        if token in breaks:
            break
        if token in phrases:
            said.append(token)
    return said


def _last_hidden(model: CatalogModel, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    width = max(len(row) for row in rows)
    pad = model.vocabulary.ids[PAD]
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    # Padding stands behind and attention is causal: what stands before never sees it.
    hidden: torch.Tensor = model.network.model(input_ids=tokens, use_cache=False).last_hidden_state
    at = torch.tensor([len(row) - 1 for row in rows])
    return hidden[torch.arange(len(rows)), at]
