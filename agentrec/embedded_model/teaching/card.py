"""The model card: what the embedded model is, and how well it learnt what it was taught."""

from __future__ import annotations

from collections.abc import Sequence

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching.examination import Examination
from agentrec.embedded_model.teaching.teacher import Teacher
from agentrec.embedded_model.teaching.training import TrainingPlan


def model_card(
    model: CatalogModel,
    teacher: Teacher,
    examination: Examination,
    plan: TrainingPlan,
    losses: Sequence[float],
) -> str:
    """Write the card.

    Args:
        model: The trained model.
        teacher: The rule it was distilled from.
        examination: What it can do.
        plan: How it was trained.
        losses: Ranking loss of every step.
    """
    weights = teacher.weights
    parameters = sum(p.numel() for p in model.network.parameters())
    without, with_hint = examination.agreement
    lists = losses[plan.list_every - 1 :: plan.list_every]
    return f"""---
library_name: transformers
tags: [recommendation, rule-distilled]
---
# {model.name}

A causal language model of {parameters:,} parameters that ranks items of one catalogue, follows
hints, and writes critiques, diagnoses, hints, preferences and questions.

**What it is:** a rule-distilled stand-in for development, tests and demos. It was taught from a
catalogue of {len(model.vocabulary.labels):,} items and from synthetic histories drawn out of that
catalogue; it never saw a user's sequence (one number an item, how often it was chosen in training
sessions, is the only trace of users). It knows what the rule knows. It did not learn that from
nothing: item embeddings start as the items' features, phrases as what they ask for, and the
attention heads as what their parts are for. Training taught it what to weigh.

**What it is not:** a language model to judge recommendation quality by. How much hints add to it
says that the loop works; it says nothing about any other model.

## The rule
Without a hint: {weights.text} x likeness in text + {weights.category} x likeness in categories to
the history, recent items counting more (factor {weights.recency} an item); numbers are not
weighed. A hint adds {weights.hint} x each property it asks for. Units are standard deviations.

## What it learnt
On {examination.prompts} fresh prompts of {examination.candidates} candidates drawn uniformly:

| | |
|---|---|
| the most probable next token, out of all, is a candidate's handle | \
{examination.candidate_first:.1%} |
| rank correlation (Spearman) with the rule, no hint | {without:.3f} |
| the same with a hint | {with_hint:.3f} |
| puts the same candidate first as the rule | {examination.same_first:.1%} |
| a list written with nothing masked names what the masked ranking puts in its first ten | \
{examination.written_overlap:.1%} |
| distinct entries in such a list | {examination.written_distinct:.1%} |

As a chat model it writes the masked ranking itself: the candidates by the probability of being
named first.

Hints, each "prefer ..." over the same histories and candidates; rank correlation of the order
with how much each candidate has of what is asked for:

| hint | the model | the rule |
|---|---|---|
{_rows(examination)}

## Training
{plan.steps} steps. Most ({plan.batch_size} prompts each) teach what to look for, every prompt
against {plan.lists} lists of {plan.list_size} candidates; one in {plan.list_every}
({plan.list_batch_size} prompts) teaches whole lists, every place supervised by the rule's soft
choice among what is left; texts every {plan.text_every} steps. Divergence from the rule over the
first 20 steps with lists {_mean(lists[:20]):.3f}, over the last 20 {_mean(lists[-20:]):.3f} nats.

## Use
Through `agentrec` it answers the same prompts as any chat model. With `transformers` alone,
`AutoModelForCausalLM` and `AutoTokenizer` load this folder. A prompt is

`<rank> <history> <none> ... [title] [title] <candidates> [title] [title] ... <hint> prefer \
phrase_with_underscores <answer>`

with ten places in the history, filled up in front with `<none>`; the next token is the handle
(`C01`, `C02`, ...) of the candidate to put first, and behind each handle and another `<answer>`
comes the next. Prompts for texts end with `<say>`; see `prompt_tokens` in `agentrec`.
"""


def _rows(examination: Examination) -> str:
    return "\n".join(
        f"| {grade.phrase} | {grade.with_property:.2f} | {grade.rule:.2f} |"
        for grade in examination.hints
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
