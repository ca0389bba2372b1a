"""Lessons in writing: critiques, diagnoses, hints, preferences and questions.

What is said is the contrast between items, in the words of the catalogue's aspects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agentrec.embedded_model.language.text_grammar import (
    Signed,
    critique_words,
    diagnosis_words,
    factor_token,
    hint_list_words,
    preference_words,
    question_words,
)
from agentrec.embedded_model.language.vocabulary import END, prompt_tokens
from agentrec.embedded_model.teaching.corpus import Corpus

PREDICTIONS = 10
NOT_LOOKED_AT = -100
_WRITTEN = ("critique", "diagnose", "hints", "hints", "preference", "question")
_MOST_FACTORS = 4
# Standard deviations over all items: a history of items drawn at random seldom tells as much.
_CLEAR = 1.2
_ASKED_CANDIDATES = 12


def text_lesson(corpus: Corpus, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw prompts that ask for a text, with what is to be written.

    Returns:
        Tokens ``[count, length]`` and labels of the same shape, ``NOT_LOOKED_AT`` up to and with
        the mark that the text comes after, and where a row is padded.
    """
    teacher, first = corpus.teacher, corpus.vocabulary.first_item
    histories, lengths = corpus.histories(count)
    pool = corpus.candidates(count, 51)
    target, others = pool[:, :1], pool[:, 1:]
    base = teacher.base_scores(histories, lengths, others)
    ranked = base.topk(min(PREDICTIONS, base.shape[1]), dim=1).indices
    predictions = others.gather(1, ranked)
    profile = teacher.profile(torch.cat([target, predictions], dim=1))
    held = profile[:, 1:].mean(dim=1)
    contrast = profile[:, 0] - held
    tokens = corpus.history_tokens(histories, lengths)
    rows, labels = [], []
    for row in range(count):
        sections: dict[str, Sequence[int]] = {"<history>": tokens[row]}
        task = corpus.rng.choice(_WRITTEN)
        if task in {"preference", "question"}:
            liked = teacher.profile(histories[row : row + 1, : lengths[row]])[0].mean(dim=0)
            if task == "preference":
                answer, asked = _preferences(corpus, liked)
                sections["<factors>"] = asked
            else:
                shown = others[row, :_ASKED_CANDIDATES]
                sections["<candidates>"] = (shown + first).tolist()
                there = teacher.profile(shown[None])[0].mean(dim=0)
                answer = _question(corpus, liked + there)
        else:
            sections["<predictions>"] = (predictions[row] + first).tolist()
            if task == "critique":
                answer = critique_words([teacher.aspects[a] for a in _top(corpus, held[row], 2)])
            else:
                sections["<target>"] = (target[row] + first).tolist()
                more, less = _top(corpus, contrast[row], 3), _top(corpus, -contrast[row], 2)
                aspects = teacher.aspects
                if task == "diagnose":
                    answer = diagnosis_words([aspects[a] for a in more], [aspects[a] for a in less])
                else:
                    answer = hint_list_words(_three_hints(corpus, more))
        prompt = prompt_tokens(task, sections, corpus.vocabulary)
        wanted = [*corpus.word_ids(answer), corpus.vocabulary.ids[END]]
        rows.append(prompt + wanted)
        labels.append([NOT_LOOKED_AT] * len(prompt) + wanted)
    return corpus.padded(rows), corpus.padded(labels, NOT_LOOKED_AT)


def _three_hints(corpus: Corpus, more: Sequence[int]) -> list[list[Signed]]:
    """One cause a hint, and one hint that joins the two strongest."""
    aspects = corpus.teacher.aspects
    hints: list[list[Signed]] = [[(aspects[a], 1)] for a in more[:1]]
    if len(more) > 1:
        hints.append([(aspects[more[0]], 1), (aspects[more[1]], 1)])
        hints.append([(aspects[more[1]], 1)])
    return hints


def _preferences(corpus: Corpus, liked: torch.Tensor) -> tuple[list[str], list[int]]:
    """Some factors, and of each the aspects that a history holds most of."""
    by_factor: dict[str, list[int]] = {}
    for place, aspect in enumerate(corpus.teacher.aspects):
        by_factor.setdefault(aspect.factor, []).append(place)
    most = min(_MOST_FACTORS, len(by_factor))
    factors = corpus.rng.sample(sorted(by_factor), corpus.rng.randint(min(1, most), most))
    preferred, clear = [], []
    for factor in factors:
        places = by_factor[factor]
        values = liked[places] + 0.25 * corpus.gumbel(liked[places].shape)
        best = values.topk(min(2, len(places)))
        preferred.append((factor, [corpus.teacher.aspects[places[n]] for n in best.indices]))
        clear.append(float(best.values[0]))
    # A factor on which the history tells nothing is left out, but for the clearest of all; a
    # catalogue without aspects has no factors at all.
    needed = min(_CLEAR, max(clear, default=_CLEAR))
    said = [one for one, value in zip(preferred, clear, strict=True) if value >= needed]
    return preference_words(said), corpus.word_ids([factor_token(f) for f in factors])


def _question(corpus: Corpus, told: torch.Tensor) -> list[str]:
    """Between the two aspects that both the history and the candidates hold most of."""
    top = _top(corpus, told, 2)
    aspects = corpus.teacher.aspects
    return question_words(aspects[top[0]], aspects[top[1]]) if len(top) > 1 else []


def _top(corpus: Corpus, values: torch.Tensor, count: int) -> list[int]:
    """Highest values, drawn with a little noise so that near ties come out either way."""
    noisy = values + 0.25 * corpus.gumbel(values.shape)
    return noisy.topk(min(count, len(values))).indices.tolist()
