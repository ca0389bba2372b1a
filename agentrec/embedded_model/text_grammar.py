"""The words of the model's texts: composing them, spelling them out, reading them back."""

from __future__ import annotations

import random
import re
from collections.abc import Container, Iterable, Sequence
from typing import Literal

from agentrec.embedded_model.aspects import Aspect

Task = Literal["rank", "critique", "diagnose", "hints", "preference", "question"]

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
CRITIQUE_LEAD = ("the", "predictions", "lean", "to")
CRITIQUE_TAIL = (",", "perhaps", "too", "much", ".")
DIAGNOSIS_LEAD = ("the", "target", "has", "more", ":")
DIAGNOSIS_LACK = (".", "the", "predictions", "have", "more", ":")
QUESTION_LEAD = ("do", "you", "prefer")
QUESTION_TAIL = ("?",)

_MAX_PHRASE_WORDS = 64
_MARKS = frozenset({".", ",", ":", "?"})
_LISTS = frozenset({"hints", "preference"})

SignedAspect = tuple[Aspect, int]


def hint_words(wanted: Sequence[SignedAspect], rng: random.Random | None = None) -> list[str]:
    """Compose a hint that asks for aspects.

    Args:
        wanted: Aspects, each with 1 (prefer) or -1 (avoid); at least one.
        rng: Source of paraphrases; ``None`` for the plain form that the model itself writes.

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
    """Say which aspects the predictions have much of."""
    return [*CRITIQUE_LEAD, *_join(excess), *CRITIQUE_TAIL]


def diagnosis_words(more: Sequence[Aspect], less: Sequence[Aspect]) -> list[str]:
    """Say which aspects the target has more and less of than the predictions."""
    return [*DIAGNOSIS_LEAD, *_join(more), *DIAGNOSIS_LACK, *_join(less), "."]


def hint_list_words(hints: Sequence[Sequence[SignedAspect]]) -> list[str]:
    """Compose several hints, each closed by ``HINT_END``."""
    return [word for wanted in hints for word in [*hint_words(wanted), HINT_END]]


def preference_words(preferred: Sequence[tuple[str, Sequence[Aspect]]]) -> list[str]:
    """Say for several factors which of their aspects a history has much of.

    Each factor is one word, followed by a colon, its aspects and ``HINT_END``.
    """
    words: list[str] = []
    for factor, aspects in preferred:
        words += [factor_token(factor), ":", *_join(aspects), HINT_END]
    return words


def question_words(first: Aspect, second: Aspect) -> list[str]:
    """Ask which of two aspects somebody prefers."""
    return [*QUESTION_LEAD, first.token, "or", second.token, *QUESTION_TAIL]


def factor_token(factor: str) -> str:
    """Return a factor as the one word that stands for it."""
    return factor.replace(" ", "_")


def all_words(aspects: Sequence[Aspect]) -> list[str]:
    """Return every word that can occur, in a fixed order, without repetition."""
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


def known_words(text: str, known: Container[str]) -> list[str]:
    """Split a text into known words, dropping the others.

    Args:
        text: Any text.
        known: The words, phrases joined by underscores; the longest that fits is taken.
    """
    plain = re.findall(r"\w+", text.casefold())
    words: list[str] = []
    start = 0
    while start < len(plain):
        for end in range(min(len(plain), start + _MAX_PHRASE_WORDS), start, -1):
            joined = "_".join(plain[start:end])
            if joined in known:
                words.append(joined)
                start = end
                break
        else:
            start += 1
    return words


def _join(aspects: Sequence[Aspect]) -> list[str]:
    words: list[str] = []
    for aspect in aspects:
        words.extend(["and"] if words else [])
        words.append(aspect.token)
    return words


class Detokenizer:
    """Spells out the words of one answer: spaces, capital letters, numbered lines, full stops.

    Args:
        task: What the answer is: sentences, numbered hints, or ``factor: preference`` lines.
        count: Most lines of a list.
    """

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        self._count = count
        self._lines = 0
        self._line: list[str] = []
        self._factor: str | None = None
        self._last = ""

    def add(self, word: str) -> str:
        """Return what the next word adds to the text; nothing beyond the last line."""
        if self._task in _LISTS:
            return self._add_to_list(word)
        starts = self._last in {"", ".", "?"}
        added = self._spaced(word, capital=starts)
        self._last = word
        return added

    def end(self) -> str:
        """Return what the end of the answer adds to the text."""
        if self._task in _LISTS:
            return self._line_end() if self._line else ""
        return "" if self._last in {"", ".", "?"} else "."

    def _add_to_list(self, word: str) -> str:
        if word == HINT_END:
            added = self._line_end() if self._line else ""
            self._line, self._factor, self._last = [], None, ""
            return added
        if not self._line:
            if self._lines == self._count:
                return ""
            self._lines += 1
        first = not self._line
        self._line.append(word)
        if self._task == "preference":
            if first:
                self._factor = word.replace("_", " ")
            else:
                # The line names its factor once.
                phrase = word.replace("_", " ").removeprefix(f"{self._factor} ")
                word = phrase.replace(" ", "_")
        start = "" if self._lines == 1 else "\n"
        number = f"{start}{self._lines}. " if self._task == "hints" else start
        added = self._spaced(word, capital=first and self._task == "hints")
        self._last = word
        return f"{number}{added}" if first else added

    def _line_end(self) -> str:
        return "." if self._task == "hints" else ""

    def _spaced(self, word: str, *, capital: bool) -> str:
        text = word.replace("_", " ")
        if capital:
            text = text[:1].upper() + text[1:]
        return text if word in _MARKS or not self._last else f" {text}"


def detokenize(task: Task, count: int, words: Iterable[str]) -> str:
    """Return the text of a whole answer."""
    detokenizer = Detokenizer(task, count)
    return "".join([*(detokenizer.add(word) for word in words), detokenizer.end()])
