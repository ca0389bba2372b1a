"""Hints and reflections as words: how the embedded model's teacher says what it means."""

from __future__ import annotations

import random
import re
from collections.abc import Container, Sequence

from agentrec.embedded_model.teaching.aspects import Aspect

PREFER = (
    ("prefer",),
    ("favour",),
    ("favor",),
    ("recommend",),
    ("choose",),
    ("prioritize",),
    ("focus", "on"),
    ("look", "for"),
)
AVOID = (("avoid",), ("less",), ("do", "not", "recommend"))
FILLERS = ((), ("items", "with"), ("candidates", "with"))
HINT_END = ";"
_LONGEST_PHRASE = 64

CRITIQUE_LEAD = ("the", "predictions", "lean", "to")
CRITIQUE_TAIL = (",", "perhaps", "too", "much", ".")
DIAGNOSIS_LEAD = ("the", "target", "has", "more", ":")
DIAGNOSIS_LACK = (".", "the", "predictions", "have", "more", ":")
QUESTION_LEAD = ("do", "you", "prefer")
QUESTION_TAIL = ("?",)

Signed = tuple[Aspect, int]


def hint_words(wanted: Sequence[Signed], rng: random.Random | None = None) -> list[str]:
    """Word a hint that asks for aspects.

    Args:
        wanted: Aspects, each with 1 (prefer) or -1 (avoid); at least one.
        rng: Source of paraphrases; ``None`` for the plain wording the model itself writes.

    Returns:
        Words, each aspect's phrase being one: ``prefer``, ``year_1990_to_1995``, ``and``,
        ``avoid``, ``genres_horror``.
    """
    words: list[str] = []
    previous = 0
    for aspect, sign in wanted:
        if words:
            words.append("and")
        if sign != previous or (rng is not None and rng.random() < 0.3):
            verbs = PREFER if sign > 0 else AVOID
            words.extend(verbs[0] if rng is None else rng.choice(verbs))
            words.extend(() if rng is None else rng.choice(FILLERS))
        words.append(aspect.token)
        previous = sign
    return words


def critique_words(excess: Sequence[Aspect]) -> list[str]:
    """Say which aspects the predictions hold much of."""
    return [*CRITIQUE_LEAD, *_joined(excess), *CRITIQUE_TAIL]


def diagnosis_words(more: Sequence[Aspect], less: Sequence[Aspect]) -> list[str]:
    """Say what the target has more, and what less, of than the predictions."""
    return [*DIAGNOSIS_LEAD, *_joined(more), *DIAGNOSIS_LACK, *_joined(less), "."]


def hint_list_words(hints: Sequence[Sequence[Signed]]) -> list[str]:
    """Several hints, each closed by ``HINT_END``."""
    return [word for wanted in hints for word in [*hint_words(wanted), HINT_END]]


def preference_words(preferred: Sequence[tuple[str, Sequence[Aspect]]]) -> list[str]:
    """Say of several factors which of their aspects a history holds much of.

    Each factor is one word, followed by a colon, its aspects and ``HINT_END``.
    """
    words: list[str] = []
    for factor, aspects in preferred:
        words += [factor_token(factor), ":", *_joined(aspects), HINT_END]
    return words


def question_words(first: Aspect, second: Aspect) -> list[str]:
    """Ask which of two aspects somebody prefers."""
    return [*QUESTION_LEAD, first.token, "or", second.token, *QUESTION_TAIL]


def factor_token(factor: str) -> str:
    """A factor as the one word that the model reads and writes it as."""
    return factor.replace(" ", "_")


def all_words(aspects: Sequence[Aspect]) -> list[str]:
    """Every word that can occur, in a fixed order, without repetition."""
    groups = [
        [aspect.token for aspect in aspects],
        *PREFER,
        *AVOID,
        *FILLERS,
        CRITIQUE_LEAD,
        CRITIQUE_TAIL,
        DIAGNOSIS_LEAD,
        DIAGNOSIS_LACK,
        ("and", HINT_END),
        QUESTION_LEAD,
        ("or", *QUESTION_TAIL),
        [factor_token(aspect.factor) for aspect in aspects],
    ]
    return list(dict.fromkeys(word for group in groups for word in group))


def as_words(text: str, known: Container[str]) -> list[str]:
    """Split a text into the words the model knows; what it does not know is dropped.

    Args:
        text: Any text.
        known: The words, phrases joined by underscores; the longest that fits is taken.
    """
    plain = re.findall(r"\w+", text.casefold())
    words: list[str] = []
    start = 0
    while start < len(plain):
        for end in range(min(len(plain), start + _LONGEST_PHRASE), start, -1):
            joined = "_".join(plain[start:end])
            if joined in known:
                words.append(joined)
                start = end
                break
        else:
            start += 1
    return words


def _joined(aspects: Sequence[Aspect]) -> list[str]:
    words: list[str] = []
    for aspect in aspects:
        words.extend(["and"] if words else [])
        words.append(aspect.token)
    return words
