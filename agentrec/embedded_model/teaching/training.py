"""Teaching the embedded model: what to look for, how to write a list, and texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.network.checkpoint import Checkpoint
from agentrec.embedded_model.network.forward import choose, gather
from agentrec.embedded_model.network.symmetry import symmetric_gradients
from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.teaching.ranking_lessons import choosing_loss, list_lesson, list_loss
from agentrec.embedded_model.teaching.text_lessons import NOT_LOOKED_AT, text_lesson

CHECKPOINT_EVERY = 100

OnStep = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train.

    Attributes:
        steps: Optimiser steps.
        batch_size: Prompts of a step that teaches what to look for; half as many text tasks.
        list_every: Every how many steps whole prompts with lists are the lesson instead.
        list_batch_size: Prompts of such a step.
        text_every: Every how many steps a batch of text tasks is added.
        learning_rate: Peak of the cosine schedule, after 5 % of linear warm-up.
        attention_factor: By how much slower attention learns, which starts wired: at the rate that
            words need, the noise of the first steps would cost it what it is given.
        lists: Candidate lists a step, shared by its prompts.
        list_size: Candidates a list.
    """

    steps: int = 640
    batch_size: int = 64
    list_every: int = 2
    list_batch_size: int = 36
    text_every: int = 2
    learning_rate: float = 2e-3
    attention_factor: float = 0.3
    lists: int = 8
    list_size: int = 32


def train_network(
    network: GPT2LMHeadModel,
    corpus: Corpus,
    plan: TrainingPlan,
    checkpoint: Checkpoint,
    on_step: OnStep,
) -> list[float]:
    """Train in place.

    Args:
        network: The network.
        corpus: Where lessons come from.
        plan: How long and how fast.
        checkpoint: Where an interrupted training is kept, and found again.
        on_step: Progress callback; raising in it stops the training, which is kept.

    Returns:
        The ranking loss (nats a list) of every step.
    """
    network.train()
    optimizer = torch.optim.AdamW(_groups(network), betas=(0.9, 0.98), weight_decay=0.0)
    losses: list[float] = []
    start = checkpoint.restore(network, optimizer, losses)
    for step in range(start, plan.steps):
        corpus.begin_step(step)
        for group in optimizer.param_groups:
            factor = plan.attention_factor if group["attends"] else 1.0
            group["lr"] = learning_rate(plan, step) * factor
        if step % plan.list_every == plan.list_every - 1:
            ranking = list_loss(network, corpus, list_lesson(corpus, plan.list_batch_size))
        else:
            ranking = choosing_loss(network, corpus, plan.batch_size, plan.lists, plan.list_size)
        loss = ranking
        if step % plan.text_every == 0:
            loss = loss + text_loss(network, corpus, plan.batch_size // 2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        symmetric_gradients(network, corpus.vocabulary.first_item)
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


def _groups(network: GPT2LMHeadModel) -> list[dict[str, object]]:
    """Attention with the norms before it, and the rest."""
    named = list(network.transformer.named_parameters())
    attends = {name for name, _ in named if ".attn." in name or ".ln_1." in name}
    return [
        {"params": [p for name, p in named if name in attends], "attends": True},
        {"params": [p for name, p in named if name not in attends], "attends": False},
    ]


def learning_rate(plan: TrainingPlan, step: int) -> float:
    """The rate at a step."""
    warm_up = max(1, plan.steps // 20)
    progress = max(0.0, (step - warm_up) / max(1, plan.steps - warm_up))
    factor = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * progress))
    return plan.learning_rate * max(factor, 0.01)


def text_loss(network: GPT2LMHeadModel, corpus: Corpus, count: int) -> torch.Tensor:
    """Cross-entropy of the words of freshly drawn texts, nats a word."""
    tokens, labels = text_lesson(corpus, count)
    looked_at = labels[:, 1:] != NOT_LOOKED_AT
    begins = int(looked_at.int().argmax(dim=1).min())
    words = torch.arange(begins, tokens.shape[1] - 1).expand(count, -1)
    gathered = gather(network, tokens, torch.arange(tokens.shape[1]))
    hidden = network.transformer.ln_f(choose(network, gathered, words))
    wanted, looked_at = labels[:, 1 + begins :], looked_at[:, begins:]
    # Texts are made of words and marks alone; neither handles nor items may come up in them.
    table = network.transformer.wte.weight[: corpus.vocabulary.first_item]
    logits = hidden[looked_at] @ table.T
    loss: torch.Tensor = functional.cross_entropy(logits, wanted[looked_at])
    return loss
