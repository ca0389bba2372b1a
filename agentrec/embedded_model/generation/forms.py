"""The form of questions and preferences: what may come next, so that they can be read again.

Which property is named is the network's choice; that a line has an end is not, just as a ranking
names each candidate once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agentrec.embedded_model.generation.reading import CompactPrompt
from agentrec.embedded_model.network.vocabulary import END, Vocabulary
from agentrec.embedded_model.teaching.wording import HINT_END, QUESTION_LEAD, factor_token

_MOST_PHRASES = 2


@dataclass(frozen=True)
class Form:
    """What may come next in one kind of text.

    Attributes:
        prompt: What was asked.
        vocabulary: The tokens.
        phrases: Tokens of the properties that can be named.
    """

    prompt: CompactPrompt
    vocabulary: Vocabulary
    phrases: frozenset[int]

    def allowed(self, written: Sequence[int]) -> frozenset[int] | None:
        """Tokens that may follow on what was written; ``None`` for any."""
        if not self.phrases:
            return None
        if self.prompt.task == "question":
            return self._in_question(written)
        if self.prompt.task == "preference":
            return self._in_preference(written)
        return None

    def _in_question(self, written: Sequence[int]) -> frozenset[int]:
        if len(written) < len(QUESTION_LEAD):
            return self._words(QUESTION_LEAD[len(written)])
        said = len(written) - len(QUESTION_LEAD)
        if said > 0 and len(self.phrases) == 1:
            # There is nothing to choose between.
            return self._words("?")
        form = (self.phrases, self._words("or"), self.phrases, self._words("?"))
        return form[min(said, len(form) - 1)]

    def _in_preference(self, written: Sequence[int]) -> frozenset[int]:
        end, colon = self.vocabulary.ids[HINT_END], self.vocabulary.ids[":"]
        start = len(written) - next(
            (n for n, token in enumerate(reversed(written)) if token == end), len(written)
        )
        line = written[start:]
        if not line:
            left = self._factors() - set(written)
            return (left | self._words(END)) if left and written else (left or self._words(END))
        if len(line) == 1:
            return frozenset({colon})
        if sum(token in self.phrases for token in line) == _MOST_PHRASES:
            return self._words(HINT_END)
        left = (self._about(line[0]) or self.phrases) - set(line)
        if line[-1] == colon or line[-1] == self.vocabulary.ids["and"]:
            return left
        return self._words("and", HINT_END) if left else self._words(HINT_END)

    def _factors(self) -> frozenset[int]:
        """The factors asked for; where none is known, all that the model knows."""
        known = self._words(*(factor_token(factor) for factor in self.vocabulary.factors))
        return known & frozenset(self.prompt.sections.get("<factors>", ())) or known

    def _about(self, factor: int) -> frozenset[int]:
        """Phrases that name a factor; for one that none names, those that name no other either."""
        names = [factor_token(factor) for factor in self.vocabulary.factors]
        asked = next((name for name in names if self.vocabulary.ids[name] == factor), "")
        said = {p: f"_{self._spelt[p]}_" for p in self.phrases}
        own = frozenset(p for p, text in said.items() if f"_{asked}_" in text)
        others = frozenset(
            p for p, text in said.items() if not any(f"_{name}_" in text for name in names)
        )
        return own or others

    @cached_property
    def _spelt(self) -> dict[int, str]:
        return {place: word for word, place in self.vocabulary.ids.items()}

    def _words(self, *words: str) -> frozenset[int]:
        return frozenset(self.vocabulary.ids[word] for word in words)
