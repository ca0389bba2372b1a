"""Teaching the embedded model: rankings by soft labels, texts by cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from transformers import LlamaForCausalLM

from agentrec.llm.catalog_lm.checkpoint import Checkpoint
from agentrec.llm.catalog_lm.corpus import Corpus, RankingBatch
from agentrec.llm.catalog_lm.vocabulary import PAD, Vocabulary

CHECKPOINT_EVERY = 200

OnStep = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train.

    Attributes:
        steps: Optimiser steps.
        batch_size: Ranking prompts a step.
        text_every: Every how many steps a batch of text tasks is added.
        learning_rate: Peak of the cosine schedule, after 5 % of linear warm-up.
        weight_decay: AdamW's, on matrices.
        lists: Candidate lists a batch, shared by its rows.
        list_size: Candidates a list.
    """

    steps: int = 1300
    batch_size: int = 64
    text_every: int = 3
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.01
    lists: int = 8
    list_size: int = 32


def train_network(
    network: LlamaForCausalLM,
    corpus: Corpus,
    vocabulary: Vocabulary,
    plan: TrainingPlan,
    checkpoint: Checkpoint,
    on_step: OnStep,
) -> list[float]:
    """Train in place.

    Args:
        network: The network.
        corpus: Where batches come from.
        vocabulary: The tokens.
        plan: How long and how fast.
        checkpoint: Where an interrupted training is kept, and found again.
        on_step: Progress callback; raising in it stops the training, which is kept.

    Returns:
        The ranking loss (nats a list) of every step.
    """
    network.train()
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=plan.learning_rate,
        weight_decay=plan.weight_decay,
        betas=(0.9, 0.98),
    )
    warm_up = max(1, plan.steps // 20)
    losses: list[float] = []
    start = checkpoint.restore(network, optimizer, losses)
    for step in range(start, plan.steps):
        corpus.begin_step(step)
        progress = max(0.0, (step - warm_up) / max(1, plan.steps - warm_up))
        factor = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * max(factor, 0.01)
        batch = corpus.ranking_batch(plan.batch_size, plan.lists, plan.list_size)
        ranking = ranking_loss(network, batch, vocabulary)
        loss = ranking
        if step % plan.text_every == 0:
            loss = loss + _text_loss(network, corpus.text_batch(plan.batch_size // 2), vocabulary)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(ranking.detach()))
        try:
            on_step(step + 1, plan.steps)
        except BaseException:
            checkpoint.keep(network, optimizer, losses)
            raise
        if (step + 1) % CHECKPOINT_EVERY == 0:
            checkpoint.keep(network, optimizer, losses)
    network.train(False)
    return losses


def ranking_loss(
    network: LlamaForCausalLM, batch: RankingBatch, vocabulary: Vocabulary
) -> torch.Tensor:
    """Cross-entropy of the first place against the soft labels of each candidate list.

    The softmax runs over a list's items and all words and marks, so that the model also learns
    to answer with an item.

    Returns:
        A scalar, nats a list.
    """
    mask = batch.tokens != vocabulary.ids[PAD]
    hidden: torch.Tensor = network.model(
        input_ids=batch.tokens, attention_mask=mask
    ).last_hidden_state
    answers = hidden[torch.arange(len(hidden)), batch.answer_at]
    table = network.model.embed_tokens.weight
    own = (answers @ table[batch.items.flatten()].T).view(batch.labels.shape)
    words = answers @ table[: vocabulary.first_item].T
    logits = torch.cat([own, words[:, None].expand(-1, own.shape[1], -1)], dim=-1)
    log_probabilities = own - logits.logsumexp(dim=-1, keepdim=True)
    loss: torch.Tensor = -(batch.labels * log_probabilities).sum(dim=-1).mean()
    return loss


def _text_loss(
    network: LlamaForCausalLM, batch: tuple[torch.Tensor, torch.Tensor], vocabulary: Vocabulary
) -> torch.Tensor:
    tokens, labels = batch
    mask = tokens != vocabulary.ids[PAD]
    hidden = network.model(input_ids=tokens, attention_mask=mask).last_hidden_state
    looked_at = labels[:, 1:] != -100
    table = network.model.embed_tokens.weight
    # Texts are made of words and marks alone; items never compete there.
    logits = hidden[:, :-1][looked_at] @ table[: vocabulary.first_item].T
    loss: torch.Tensor = functional.cross_entropy(logits, labels[:, 1:][looked_at])
    return loss
