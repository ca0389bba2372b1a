"""Lessons in ranking: choosing candidates, and writing lists of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.forward import blocks, choose, gather
from agentrec.embedded_model.initialization import HEAD, WIDTH
from agentrec.embedded_model.teaching.corpus import Corpus, PromptSample
from agentrec.embedded_model.vocabulary import (
    ANSWER,
    CANDIDATES_AT,
    END,
    MAX_CANDIDATES,
    prompt_tokens,
)

SOFTNESS = 0.5
"""Temperature of the ranking labels, in the rule's standard deviations."""

ATTENTION_SOFTNESS = 1.5
"""Temperature of the choosing head's attention over candidates. Softer than the labels, or the
handles of all but the first few would have too little weight to be ordered."""

_NUM_OWN = 10
_SHARED_WEIGHT, _OWN_WEIGHT, _FIRST_CHOICE_WEIGHT = 0.7, 0.3, 0.3
_SIZES = (8, 12, 16, 24, 32, 50, 70, 100)
_MIN_POSITIONS, _MAX_POSITIONS = 2, 8
_ATTENTION_WEIGHT = 0.5
_SEPARATOR_WEIGHT = 0.2
_SAMPLED_ITEMS = 256


def choosing_loss(
    network: GPT2LMHeadModel, corpus: Corpus, count: int, lists: int, list_size: int
) -> Tensor:
    """Compute the loss that teaches the choosing head what to attend to, without writing lists.

    Prompts are short, and share candidates that are compared with each of them. So a step costs
    less than half of one with whole prompts, and sees many more candidates.

    Args:
        network: The network.
        corpus: Source of the draws.
        count: Number of prompts.
        lists: Number of candidate lists, shared by all prompts.
        list_size: Candidates per list.

    Returns:
        A scalar: divergence of the head's attention from the rule's soft choice, nats per list.
    """
    sample = corpus.sample(count)
    own = corpus.candidates(count, _NUM_OWN)
    shared = corpus.candidates(lists, list_size)
    tokens, answer_at = _prompts(corpus, sample, own)
    size = own.shape[1]
    offsets = corpus.integers(0, MAX_CANDIDATES - size + 1, count)
    gathered = gather(network, tokens, _shifted(tokens, offsets))
    scores = corpus.scores(sample, own)
    wanted = (scores / ATTENTION_SOFTNESS).softmax(dim=-1)
    attention = _attention(network, gathered, answer_at)[:, CANDIDATES_AT : CANDIDATES_AT + size]
    # The chosen candidates are also written, so that lessons in writing do not undo this one.
    states = choose(network, gathered, answer_at[:, None])
    named = _handle_log_probabilities(network, corpus, states, offsets, size)[:, 0]
    first_choice = _divergence((scores / SOFTNESS).softmax(dim=-1), named)

    query = _projected(network, gathered[torch.arange(count), answer_at], 0)
    positions = CANDIDATES_AT + torch.arange(shared.shape[1])
    listed = gather(network, shared + corpus.vocabulary.first_item, positions)
    compared = torch.einsum("bd,lsd->bls", query, _projected(network, listed, 1)) / math.sqrt(HEAD)
    shared_scores = corpus.scores(sample, shared.reshape(1, -1).expand(count, -1))
    shared_wanted = (shared_scores.view(compared.shape) / ATTENTION_SOFTNESS).softmax(dim=-1)
    return (
        _SHARED_WEIGHT * _divergence(shared_wanted, compared.log_softmax(dim=-1)).mean()
        + _OWN_WEIGHT * _divergence(wanted, attention).mean()
        + _FIRST_CHOICE_WEIGHT * first_choice.mean()
    )


@dataclass(frozen=True)
class ListLesson:
    """Prompts followed by a list, each entry after an answer mark.

    Attributes:
        tokens: Prompts and lists, padded at the end, ``[count, length]``.
        positions: Position of each token, ``[count, length]``.
        answer_at: Index of the first answer mark in each row, ``[count]``.
        offsets: The handle of each row's first candidate, 0 for C01, ``[count]``.
        scores: The rule's scores of the candidates, ``[count, num_candidates]``.
        written: Indices of the candidates written, best first, ``[count, num_written]``.
    """

    tokens: Tensor
    positions: Tensor
    answer_at: Tensor
    offsets: Tensor
    scores: Tensor
    written: Tensor


def list_lesson(corpus: Corpus, count: int) -> ListLesson:
    """Draw prompts with candidates, and lists written nearly as the rule would."""
    sample = corpus.sample(count)
    pool = corpus.candidates(count, corpus.rng.choice(_SIZES))
    size = pool.shape[1]
    scores = corpus.scores(sample, pool)
    num_written = min(corpus.rng.randint(_MIN_POSITIONS, _MAX_POSITIONS), size)
    # Sometimes off the best order, as the model's own lists will be.
    noisy = scores / SOFTNESS + 0.7 * corpus.gumbel(scores.shape)
    written = noisy.topk(num_written, dim=1).indices
    offsets = corpus.integers(0, MAX_CANDIDATES - size + 1, count)
    mark = corpus.vocabulary.ids[ANSWER]
    named = written + offsets[:, None] + corpus.vocabulary.first_handle
    rows, answer_at = [], []
    for prompt, handles in zip(prompt_rows(corpus, sample, pool), named.tolist(), strict=True):
        answer_at.append(len(prompt) - 1)
        rows.append(prompt + [token for handle in handles for token in (handle, mark)])
    tokens = corpus.padded(rows)
    positions = _shifted(tokens, offsets)
    return ListLesson(tokens, positions, torch.tensor(answer_at), offsets, scores, written)


def list_loss(network: GPT2LMHeadModel, corpus: Corpus, lesson: ListLesson) -> Tensor:
    """Compute the divergence of every list entry from the rule's soft choice among the rest.

    Half of the weight is on the first entry, because the model mostly ranks by it. The choosing
    head's attention and the marks between entries are taught too.

    Returns:
        A scalar, nats per entry.
    """
    count, size = lesson.scores.shape
    written = lesson.written.shape[1]
    answered = torch.arange(2 * written + 1)
    gathered = gather(network, lesson.tokens, lesson.positions)
    body = network.transformer
    chosen = choose(network, gathered, lesson.answer_at[:, None] + answered)
    left = (lesson.scores / SOFTNESS)[:, None].repeat(1, written + 1, 1)
    for index in range(1, written + 1):
        gone = lesson.written[:, None, index - 1 : index].expand(-1, written + 1 - index, -1)
        left[:, index:].scatter_(2, gone, -torch.inf)
    # Nothing is left to name after a list of all candidates.
    num_entries = written if written == size else written + 1
    labels = left[:, :num_entries].softmax(dim=-1)
    own = _handle_log_probabilities(
        network, corpus, chosen[:, ::2][:, :num_entries], lesson.offsets, size
    )
    per_entry = _divergence(labels, own)
    weights = torch.full((num_entries,), 0.5 / max(1, num_entries - 1))
    weights[0] = 0.5 if num_entries > 1 else 1.0

    attention = _attention(network, gathered, lesson.answer_at)[:, CANDIDATES_AT:][:, :size]
    wanted = (lesson.scores / ATTENTION_SOFTNESS).softmax(dim=-1)
    marks = torch.full((count, written), corpus.vocabulary.ids[ANSWER])
    if written == size:
        marks[:, -1] = corpus.vocabulary.ids[END]
    named = body.ln_f(chosen[:, 1::2]) @ body.wte.weight[: corpus.vocabulary.first_item].T
    separators = torch.nn.functional.cross_entropy(named.flatten(0, 1), marks.flatten())
    loss: Tensor = (
        (per_entry * weights).sum(dim=1).mean()
        + _ATTENTION_WEIGHT * _divergence(wanted, attention).mean()
        + _SEPARATOR_WEIGHT * separators
    )
    return loss


def _handle_log_probabilities(
    network: GPT2LMHeadModel, corpus: Corpus, states: Tensor, offsets: Tensor, size: int
) -> Tensor:
    """Compute log-probabilities of candidates' handles among all words, handles and some items.

    Args:
        network: The network.
        corpus: Source of the items.
        states: Output of the second block, ``[count, num_entries, WIDTH]``.
        offsets: The handle of each row's first candidate, ``[count]``.
        size: Number of candidates.

    Returns:
        Shape ``[count, num_entries, size]``.
    """
    vocabulary, table = corpus.vocabulary, network.transformer.wte.weight
    items = vocabulary.first_item + corpus.integers(0, corpus.num_items, _SAMPLED_ITEMS)
    seen = torch.cat([table[: vocabulary.first_item], table[items]])
    logits = network.transformer.ln_f(states) @ seen.T
    shown = vocabulary.first_handle + offsets[:, None, None] + torch.arange(size)
    own = logits.gather(2, shown.expand(-1, states.shape[1], -1))
    logs: Tensor = own - logits.logsumexp(dim=-1, keepdim=True)
    return logs


def _shifted(tokens: Tensor, offsets: Tensor) -> Tensor:
    """Return positions of prompts whose candidates begin at the offset handles.

    If all rows began at the first, every step would favour some handles for no reason.
    """
    positions = torch.arange(tokens.shape[1]).repeat(len(tokens), 1)
    positions[:, CANDIDATES_AT:] += offsets[:, None]
    return positions


def _attention(network: GPT2LMHeadModel, gathered: Tensor, answer_at: Tensor) -> Tensor:
    """Return the log attention of the choosing head at the first answer mark."""
    query = _projected(network, gathered[torch.arange(len(gathered)), answer_at], 0)
    seen = torch.einsum("bd,btd->bt", query, _projected(network, gathered, 1)) / math.sqrt(HEAD)
    after = torch.arange(gathered.shape[1])[None] > answer_at[:, None]
    return seen.masked_fill(after, -torch.inf).log_softmax(dim=-1)


def _projected(network: GPT2LMHeadModel, hidden: Tensor, role: int) -> Tensor:
    """Return queries (role 0) or keys (1) of the choosing head."""
    block = blocks(network)[1]
    joint, columns = block.attn.c_attn, slice(role * WIDTH, role * WIDTH + HEAD)
    projected: Tensor = block.ln_1(hidden) @ joint.weight[:, columns] + joint.bias[columns]
    return projected


def _prompts(corpus: Corpus, sample: PromptSample, pool: Tensor) -> tuple[Tensor, Tensor]:
    rows = prompt_rows(corpus, sample, pool)
    return corpus.padded(rows), torch.tensor([len(row) - 1 for row in rows])


def prompt_rows(corpus: Corpus, sample: PromptSample, pool: Tensor) -> list[list[int]]:
    """Return ranking prompts for drawn histories and hints over item indices ``[count, size]``."""
    first = corpus.vocabulary.first_item
    histories = corpus.history_tokens(sample.histories, sample.lengths)
    return [
        prompt_tokens(
            "rank",
            {"<history>": history, "<candidates>": candidates, "<hint>": hint},
            corpus.vocabulary,
        )
        for history, candidates, hint in zip(
            histories, (pool + first).tolist(), sample.hints, strict=True
        )
    ]


def _divergence(labels: Tensor, log_probabilities: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence over the last dimension, nats."""
    known = labels > 0
    logs = torch.where(known, labels, 1.0).log() - torch.where(known, log_probabilities, 0.0)
    return (labels * logs).sum(dim=-1)
