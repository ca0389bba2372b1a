"""How well the embedded model learnt: measured on fresh prompts, and written on its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agentrec.embedded_model.decoding import CachedDecoding, first_choice_logits
from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching.corpus import Corpus, PromptSample
from agentrec.embedded_model.teaching.ranking_lessons import prompt_rows
from agentrec.embedded_model.teaching.teacher import Teacher
from agentrec.embedded_model.teaching.training import TrainingPlan
from agentrec.embedded_model.text_grammar import hint_words
from agentrec.embedded_model.vocabulary import PAD

_HELD_OUT_STEP = 10**9
_LIST_LENGTH = 10


@dataclass(frozen=True)
class HintGrade:
    """How well one hint is followed.

    Attributes:
        phrase: What the hint asks to prefer.
        with_property: Mean Spearman correlation of the model's order with how much of the property
            each candidate has, -1 to 1.
        rule: The same for the rule's own order, the most that can be expected.
    """

    phrase: str
    with_property: float
    rule: float


@dataclass(frozen=True)
class Examination:
    """Results over prompts with candidates drawn from the whole catalogue.

    Attributes:
        prompts: Number of prompts.
        candidates: Candidates per prompt.
        candidate_first: Share of prompts whose most probable next token, out of the whole
            vocabulary, is the handle of a candidate, 0 to 1.
        agreement: Mean Spearman correlation with the rule without a hint and with one, -1 to 1.
        same_first: Share of prompts where model and rule put the same candidate first.
        written_overlap: Share of the first ten of the masked ranking that a list decoded greedily
            without a mask names too.
        written_distinct: Share of distinct entries in such a list.
        hints: A grade for each property that hints can ask for.
    """

    prompts: int
    candidates: int
    candidate_first: float
    agreement: tuple[float, float]
    same_first: float
    written_overlap: float
    written_distinct: float
    hints: tuple[HintGrade, ...]


@torch.inference_mode()
def examine(
    model: CatalogModel, corpus: Corpus, prompts: int = 128, candidates: int = 50
) -> Examination:
    """Measure a model on fresh prompts; takes seconds.

    Args:
        model: The trained model.
        corpus: Source of fresh prompts.
        prompts: Number of prompts, at least 1.
        candidates: Candidates per prompt, at most ``MAX_CANDIDATES``.
    """
    corpus.begin_step(_HELD_OUT_STEP)
    sample = corpus.sample(prompts)
    pool = corpus.distinct(prompts, candidates)
    rows = prompt_rows(corpus, sample, pool)
    scores = corpus.scores(sample, pool)
    own = _masked(model, rows, pool.shape[1])
    agreement = spearman(own, scores)
    hinted = sample.wanted.abs().sum(dim=1) > 0
    written = _written(model, corpus, rows)
    first_handle = corpus.vocabulary.first_handle
    best = own.topk(min(_LIST_LENGTH, own.shape[1]), dim=1).indices + first_handle
    overlap = [len(set(a) & set(b)) / len(b) for a, b in zip(written, best.tolist(), strict=True)]
    firsts = torch.tensor([entries[0] for entries in written])
    is_candidate = (firsts >= first_handle) & (firsts < first_handle + pool.shape[1])
    return Examination(
        prompts=prompts,
        candidates=pool.shape[1],
        candidate_first=float(is_candidate.double().mean()),
        agreement=(float(agreement[~hinted].mean()), float(agreement[hinted].mean())),
        same_first=float((own.argmax(dim=1) == scores.argmax(dim=1)).double().mean()),
        written_overlap=sum(overlap) / len(overlap),
        written_distinct=sum(len(set(w)) / len(w) for w in written) / len(written),
        hints=_hint_grades(model, corpus, sample, pool),
    )


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Return rank correlations over the last dimension; ties have their mean rank."""
    ranks = [_ranks(values) for values in (first, second)]
    centred = [r - r.mean(dim=-1, keepdim=True) for r in ranks]
    dot = (centred[0] * centred[1]).sum(dim=-1)
    lengths = centred[0].norm(dim=-1) * centred[1].norm(dim=-1)
    correlation: Tensor = dot / lengths.clamp(min=1e-12)
    return correlation


def _ranks(values: Tensor) -> Tensor:
    below = (values[..., None] > values[..., None, :]).sum(dim=-1)
    equal = (values[..., None] == values[..., None, :]).sum(dim=-1)
    return below.double() + (equal - 1).double() / 2


def _masked(model: CatalogModel, rows: Sequence[Sequence[int]], size: int) -> Tensor:
    return torch.from_numpy(first_choice_logits(model, rows))[:, :size]


def _hint_grades(
    model: CatalogModel, corpus: Corpus, sample: PromptSample, pool: Tensor, prompts: int = 24
) -> tuple[HintGrade, ...]:
    """Grade the plain hint for every aspect, over the same histories and candidates."""
    few, grades = pool[:prompts], []
    for index, aspect in enumerate(corpus.teacher.aspects):
        wanted = torch.zeros((len(few), len(corpus.teacher.aspects)))
        wanted[:, index] = 1
        words = tuple(corpus.word_ids(hint_words([(aspect, 1)])))
        hinted = PromptSample(
            sample.histories[: len(few)], sample.lengths[: len(few)], wanted, (words,) * len(few)
        )
        held = corpus.teacher.profile(few)[..., index]
        order = _masked(model, prompt_rows(corpus, hinted, few), few.shape[1])
        # Where all candidates have it alike, there is nothing to follow.
        varied = held.std(dim=1) > 1e-6
        if not varied.any():
            continue
        grades.append(
            HintGrade(
                aspect.phrase,
                float(spearman(order, held)[varied].mean()),
                float(spearman(corpus.scores(hinted, few), held)[varied].mean()),
            )
        )
    return tuple(grades)


def _written(model: CatalogModel, corpus: Corpus, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Decode ten entries greedily from the plain network, without a mask."""
    mark, pad = corpus.vocabulary.ids["<answer>"], corpus.vocabulary.ids[PAD]
    decoding = CachedDecoding(model.network, rows, pad)
    entries: list[list[int]] = [[] for _ in rows]
    for _ in range(_LIST_LENGTH):
        logits = decoding.states() @ model.network.transformer.wte.weight.T
        chosen = logits.argmax(dim=1).tolist()
        for entry, token in zip(entries, chosen, strict=True):
            entry.append(token)
        decoding.add([[token, mark] for token in chosen])
    return entries


def model_card(
    model: CatalogModel,
    teacher: Teacher,
    examination: Examination,
    plan: TrainingPlan,
    losses: Sequence[float],
) -> str:
    """Return the text of the model card.

    Args:
        model: The trained model.
        teacher: The rule it was distilled from.
        examination: Its results.
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

**What it is:** a rule-distilled stand-in for development, tests and demos. It was trained on a
catalogue of {len(model.vocabulary.labels):,} items and on synthetic histories drawn from it. It
never saw a user's sequence; the only trace of users is how often each item was chosen in training
sessions. It knows what the rule knows. Item embeddings start as the items' features, phrases as
what they ask for, and the attention heads are wired for their roles. Training learnt the weights.

**What it is not:** a language model to judge recommendation quality by. That hints improve it
shows that the loop works; it says nothing about any other model.

## The rule
Without a hint: {weights.text} x similarity in text + {weights.category} x similarity in categories
to the history, recent items counting more (factor {weights.recency} per item); numbers do not
count. A hint adds {weights.hint} x each property it asks for. Units are standard deviations.

## What it learnt
On {examination.prompts} fresh prompts of {examination.candidates} candidates drawn uniformly:

| | |
|---|---|
| the most probable next token, out of all, is a candidate's handle | \
{examination.candidate_first:.1%} |
| rank correlation (Spearman) with the rule, no hint | {without:.3f} |
| the same with a hint | {with_hint:.3f} |
| puts the same candidate first as the rule | {examination.same_first:.1%} |
| entries of the masked ranking's first ten in a list written without a mask | \
{examination.written_overlap:.1%} |
| distinct entries in such a list | {examination.written_distinct:.1%} |

As a chat model it writes the masked ranking itself: the candidates by the probability of being
named first.

Hints, each "prefer ..." over the same histories and candidates; rank correlation of the order
with how much each candidate has of the property:

| hint | the model | the rule |
|---|---|---|
{_rows(examination)}

## Training
{plan.steps} steps. Most ({plan.batch_size} prompts each) teach choosing, every prompt against
{plan.lists} lists of {plan.list_size} candidates; one in {plan.list_every} ({plan.list_batch_size}
prompts) teaches whole lists, every entry supervised by the rule's soft choice among the rest; texts
every {plan.text_every} steps. Divergence from the rule over the first 20 steps with lists
{_mean(lists[:20]):.3f}, over the last 20 {_mean(lists[-20:]):.3f} nats.

## Use
Through `agentrec` it answers the same prompts as any chat model. With `transformers` alone,
`AutoModelForCausalLM` and `AutoTokenizer` load this folder. A prompt is

`<rank> <history> <none> ... [title] [title] <candidates> [title] [title] ... <hint> prefer \
phrase_with_underscores <answer>`

with ten slots for the history, padded in front with `<none>`; the next token is the handle
(`C01`, `C02`, ...) of the candidate to put first, and after each handle and another `<answer>`
comes the next. Prompts for texts end with `<say>`; see `prompt_tokens` in `agentrec`.
"""


def _rows(examination: Examination) -> str:
    return "\n".join(
        f"| {grade.phrase} | {grade.with_property:.2f} | {grade.rule:.2f} |"
        for grade in examination.hints
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
