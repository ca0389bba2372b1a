"""What the embedded model can do, measured on fresh prompts of the kind it was taught with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.generation.decoding import CachedDecoding
from agentrec.embedded_model.generation.generation import first_place_logits
from agentrec.embedded_model.network.vocabulary import PAD
from agentrec.embedded_model.teaching.corpus import Asked, Corpus
from agentrec.embedded_model.teaching.ranking_lessons import prompt_rows
from agentrec.embedded_model.teaching.wording import hint_words

_HELD_OUT_STEP = 10**9
_LISTED = 10


@dataclass(frozen=True)
class HintGrade:
    """How well one hint is followed.

    Attributes:
        phrase: What the hint asks to prefer.
        with_property: Mean rank correlation (Spearman) of the model's order with how much each
            candidate has of it, -1 to 1.
        rule: The same of the rule's own order, the most that can be expected.
    """

    phrase: str
    with_property: float
    rule: float


@dataclass(frozen=True)
class Examination:
    """Results over prompts with candidates drawn from the whole catalogue.

    Attributes:
        prompts: How many prompts.
        candidates: How many candidates each.
        candidate_first: Share of prompts whose most probable next token, out of the whole
            vocabulary, is the handle of a candidate, 0 to 1.
        agreement: Mean Spearman correlation with the rule without a hint and with one, -1 to 1.
        same_first: Share of prompts where model and rule put the same candidate first.
        written_overlap: Share of the first ten of the masked ranking that a list written
            greedily, with nothing masked, names too.
        written_distinct: Share of distinct entries in such a list.
        hints: Each property that hints can ask for.
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
    """Examine a model; seconds.

    Args:
        model: The trained model.
        corpus: Where fresh prompts come from.
        prompts: How many, at least 1.
        candidates: How many candidates each, at most ``MAX_CANDIDATES``.
    """
    corpus.begin_step(_HELD_OUT_STEP)
    asked = corpus.asked(prompts)
    pool = corpus.distinct(prompts, candidates)
    rows = prompt_rows(corpus, asked, pool)
    scores = corpus.scores(asked, pool)
    own = _masked(model, rows, pool.shape[1])
    agreement = spearman(own, scores)
    hinted = asked.wanted.abs().sum(dim=1) > 0
    written = _written(model, corpus, rows)
    first_handle = corpus.vocabulary.first_handle
    best = own.topk(min(_LISTED, own.shape[1]), dim=1).indices + first_handle
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
        hints=_hint_grades(model, corpus, asked, pool),
    )


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation over the last dimension; ties count as their mean rank."""
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
    return torch.from_numpy(first_place_logits(model, rows))[:, :size]


def _hint_grades(
    model: CatalogModel, corpus: Corpus, asked: Asked, pool: Tensor, prompts: int = 24
) -> tuple[HintGrade, ...]:
    """Every aspect asked for by the plain hint, over the same histories and candidates."""
    few, grades = pool[:prompts], []
    for place, aspect in enumerate(corpus.teacher.aspects):
        wanted = torch.zeros((len(few), len(corpus.teacher.aspects)))
        wanted[:, place] = 1
        words = tuple(corpus.word_ids(hint_words([(aspect, 1)])))
        hinted = Asked(
            asked.histories[: len(few)], asked.lengths[: len(few)], wanted, (words,) * len(few)
        )
        held = corpus.teacher.profile(few)[..., place]
        order = _masked(model, prompt_rows(corpus, hinted, few), few.shape[1])
        # Where all candidates have the same of it, there is nothing to follow.
        telling = held.std(dim=1) > 1e-6
        if not telling.any():
            continue
        grades.append(
            HintGrade(
                aspect.phrase,
                float(spearman(order, held)[telling].mean()),
                float(spearman(corpus.scores(hinted, few), held)[telling].mean()),
            )
        )
    return tuple(grades)


def _written(model: CatalogModel, corpus: Corpus, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Ten entries by greedy decoding of the plain network, nothing masked."""
    mark, pad = corpus.vocabulary.ids["<answer>"], corpus.vocabulary.ids[PAD]
    decoding = CachedDecoding(model.network, rows, pad)
    entries: list[list[int]] = [[] for _ in rows]
    for _ in range(_LISTED):
        logits = decoding.states() @ model.network.transformer.wte.weight.T
        chosen = logits.argmax(dim=1).tolist()
        for entry, token in zip(entries, chosen, strict=True):
            entry.append(token)
        decoding.add([[token, mark] for token in chosen])
    return entries
