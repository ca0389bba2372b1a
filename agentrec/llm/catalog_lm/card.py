"""The model card: what the embedded model is, and how well it learnt what it was taught."""

from __future__ import annotations

import torch

from agentrec.llm.catalog_lm.corpus import Corpus
from agentrec.llm.catalog_lm.folder import CatalogModel
from agentrec.llm.catalog_lm.teacher import Teacher
from agentrec.llm.catalog_lm.training import TrainingPlan
from agentrec.llm.catalog_lm.vocabulary import PAD

_HELD_OUT_STEP = 10**9
_PROMPTS = 128


def model_card(
    model: CatalogModel, teacher: Teacher, corpus: Corpus, plan: TrainingPlan, losses: list[float]
) -> str:
    """Write the card.

    Args:
        model: The trained model.
        teacher: The rule it was distilled from.
        corpus: Where fresh prompts for the check come from.
        plan: How it was trained.
        losses: Ranking loss of every step.
    """
    weights = teacher.weights
    parameters = sum(p.numel() for p in model.network.parameters())
    agreement = agreement_with_rule(model, corpus, plan)
    return f"""---
library_name: transformers
tags: [recommendation, rule-distilled]
---
# {model.name}

A causal language model of {parameters:,} parameters that ranks items of one catalogue, follows
hints, and writes critiques, diagnoses and hints.

**What it is:** a rule-distilled stand-in for development, tests and demos. It was taught from a
catalogue of {len(model.vocabulary.labels):,} items and from synthetic histories drawn out of that
catalogue; it never saw a user's sequence (one number an item, how often it was chosen in training
sessions, is the only trace of users). It knows what the rule knows.

**What it is not:** a language model to judge recommendation quality by. How much hints add to it
says that the loop works; it says nothing about any other model.

## The rule
Without a hint: {weights.text} x likeness in text + {weights.category} x likeness in categories to
the history, recent items counting more (factor {weights.recency} an item); numbers are not
weighed. A hint adds {weights.hint} x each property it asks for. Units are standard deviations.

It can be asked for, and writes about:
{chr(10).join(f"- {aspect.phrase}" for aspect in teacher.aspects)}

## Training
{plan.steps} steps of {plan.batch_size} ranking prompts, each against {plan.lists} lists of
{plan.list_size} candidates, soft-label cross-entropy; text tasks every {plan.text_every} steps.
Ranking loss over the first 50 steps {_mean(losses[:50]):.3f}, over the last 50
{_mean(losses[-50:]):.3f} nats a list.

On {_PROMPTS} fresh prompts of the same kind, mean rank correlation (Spearman) with the rule
within a list: {agreement:.3f}.

## Use
Through `agentrec` it answers the same prompts as any chat model. With `transformers` alone,
`AutoModelForCausalLM` and `AutoTokenizer` load this folder; a prompt is
`<rank> <history> [title] [title] <hint> prefer phrase_with_underscores <answer>` and the next
token is the item to rank first.
"""


@torch.inference_mode()
def agreement_with_rule(model: CatalogModel, corpus: Corpus, plan: TrainingPlan) -> float:
    """Mean Spearman correlation between model and rule within candidate lists, -1 to 1."""
    corpus.begin_step(_HELD_OUT_STEP)
    batch = corpus.ranking_batch(_PROMPTS, plan.lists, plan.list_size)
    mask = batch.tokens != model.vocabulary.ids[PAD]
    hidden = model.network.model(input_ids=batch.tokens, attention_mask=mask).last_hidden_state
    answers = hidden[torch.arange(len(hidden)), batch.answer_at]
    table = model.network.model.embed_tokens.weight
    own = (answers @ table[batch.items.flatten()].T).view(batch.labels.shape)
    return float(_spearman(own, batch.labels).mean())


def _spearman(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    ranks = [values.argsort(dim=-1).argsort(dim=-1).double() for values in (first, second)]
    centred = [r - r.mean(dim=-1, keepdim=True) for r in ranks]
    dot = (centred[0] * centred[1]).sum(dim=-1)
    correlation: torch.Tensor = dot / (centred[0].norm(dim=-1) * centred[1].norm(dim=-1))
    return correlation


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
