"""Lessons in writing: critiques, diagnoses, hints, preferences and questions.

The texts contrast items in the words of the catalogue's aspects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.text_grammar import (
    SignedAspect,
    critique_words,
    diagnosis_words,
    factor_token,
    hint_list_words,
    preference_words,
    question_words,
)
from agentrec.embedded_model.vocabulary import END, prompt_tokens

PREDICTIONS = 10
IGNORED_LABEL = -100
_WRITTEN = ("critique", "diagnose", "hints", "hints", "preference", "question")
_MAX_FACTORS = 4
# In standard deviations over all items: random histories seldom show as much.
_CLEAR_PREFERENCE = 1.2
_ASKED_CANDIDATES = 12


def text_lesson(corpus: Corpus, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw prompts that ask for a text, with the text to write.

    Returns:
        Tokens ``[count, length]`` and labels of the same shape: ``IGNORED_LABEL`` up to and
        including the mark before the text, and in padding.
    """
    teacher, first = corpus.teacher, corpus.vocabulary.first_item
    histories, lengths = corpus.histories(count)
    pool = corpus.candidates(count, 51)
    target, others = pool[:, :1], pool[:, 1:]
    base = teacher.base_scores(histories, lengths, others)
    ranked = base.topk(min(PREDICTIONS, base.shape[1]), dim=1).indices
    predictions = others.gather(1, ranked)
    profile = teacher.profile(torch.cat([target, predictions], dim=1))
    predicted = profile[:, 1:].mean(dim=1)
    contrast = profile[:, 0] - predicted
    tokens = corpus.history_tokens(histories, lengths)
    rows, labels = [], []
    for row in range(count):
        sections: dict[str, Sequence[int]] = {"<history>": tokens[row]}
        task = corpus.rng.choice(_WRITTEN)
        if task in {"preference", "question"}:
            liked = teacher.profile(histories[row : row + 1, : lengths[row]])[0].mean(dim=0)
            if task == "preference":
                answer, sections["<factors>"] = _preferences(corpus, liked)
            else:
                shown = others[row, :_ASKED_CANDIDATES]
                sections["<candidates>"] = (shown + first).tolist()
                offered = teacher.profile(shown[None])[0].mean(dim=0)
                answer = _question(corpus, liked + offered)
        else:
            sections["<predictions>"] = (predictions[row] + first).tolist()
            if task == "critique":
                excess = _top_aspects(corpus, predicted[row], 2)
                answer = critique_words([teacher.aspects[a] for a in excess])
            else:
                sections["<target>"] = (target[row] + first).tolist()
                more = _top_aspects(corpus, contrast[row], 3)
                less = _top_aspects(corpus, -contrast[row], 2)
                aspects = teacher.aspects
                if task == "diagnose":
                    answer = diagnosis_words([aspects[a] for a in more], [aspects[a] for a in less])
                else:
                    answer = hint_list_words(_three_hints(corpus, more))
        prompt = prompt_tokens(task, sections, corpus.vocabulary)
        wanted = [*corpus.word_ids(answer), corpus.vocabulary.ids[END]]
        rows.append(prompt + wanted)
        labels.append([IGNORED_LABEL] * len(prompt) + wanted)
    return corpus.padded(rows), corpus.padded(labels, IGNORED_LABEL)


def _three_hints(corpus: Corpus, more: Sequence[int]) -> list[list[SignedAspect]]:
    """Return one hint per cause, and one hint that joins the two strongest."""
    aspects = corpus.teacher.aspects
    hints: list[list[SignedAspect]] = [[(aspects[a], 1)] for a in more[:1]]
    if len(more) > 1:
        hints.append([(aspects[more[0]], 1), (aspects[more[1]], 1)])
        hints.append([(aspects[more[1]], 1)])
    return hints


def _preferences(corpus: Corpus, liked: torch.Tensor) -> tuple[list[str], list[int]]:
    """Draw some factors, with the aspects of each that a history has most of."""
    by_factor: dict[str, list[int]] = {}
    for index, aspect in enumerate(corpus.teacher.aspects):
        by_factor.setdefault(aspect.factor, []).append(index)
    most = min(_MAX_FACTORS, len(by_factor))
    factors = corpus.rng.sample(sorted(by_factor), corpus.rng.randint(min(1, most), most))
    preferred, clear = [], []
    for factor in factors:
        own = by_factor[factor]
        values = liked[own] + 0.25 * corpus.gumbel(liked[own].shape)
        best = values.topk(min(2, len(own)))
        preferred.append((factor, [corpus.teacher.aspects[own[n]] for n in best.indices]))
        clear.append(float(best.values[0]))
    # Factors on which the history shows no clear preference are left out, except the clearest one.
    # A catalogue without aspects has no factors.
    threshold = min(_CLEAR_PREFERENCE, max(clear, default=_CLEAR_PREFERENCE))
    kept = [each for each, value in zip(preferred, clear, strict=True) if value >= threshold]
    return preference_words(kept), corpus.word_ids([factor_token(f) for f in factors])


def _question(corpus: Corpus, held: torch.Tensor) -> list[str]:
    """Ask about the two aspects that history and candidates together have most of."""
    top = _top_aspects(corpus, held, 2)
    aspects = corpus.teacher.aspects
    return question_words(aspects[top[0]], aspects[top[1]]) if len(top) > 1 else []


def _top_aspects(corpus: Corpus, values: torch.Tensor, count: int) -> list[int]:
    """Return the indices of the highest values, with noise so that near ties go either way."""
    noisy = values + 0.25 * corpus.gumbel(values.shape)
    return noisy.topk(min(count, len(values))).indices.tolist()
