"""Preference pairs in the tokens of the embedded model: its compact prompt and its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agentrec.embedded_model.generation.decoding import MAX_WORDS
from agentrec.embedded_model.language.prompt_parser import parse_prompt
from agentrec.embedded_model.language.text_grammar import HINT_END, detokenize, factor_token
from agentrec.embedded_model.language.vocabulary import END, Vocabulary, prompt_tokens
from agentrec.policies.alignment.pair_encoding import NotEncodableError
from agentrec.preferences import MAX_PREFERENCE_LENGTH, PreferencePair

_MESSAGES: Mapping[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}
_AND = " and "
_PIECE = re.compile(r"\w+|[^\w\s]")
_LONGEST_PHRASE = 64


class EmbeddedPairTokenizer:
    """Inverts how the embedded model reads a chat prompt and writes its words.

    It finds the words that write exactly the same text. A text without such words, as another
    model may write, is refused.

    Args:
        vocabulary: The model's tokens.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def tokens(self, pair: PreferencePair) -> tuple[list[int], list[int], list[int]]:
        """See ``PairTokenizer.tokens``."""
        ids = self._vocabulary.ids
        messages = [_MESSAGES[turn.role](turn.content) for turn in pair.prompt]
        prompt = parse_prompt(messages, self._vocabulary)
        if prompt is None or prompt.task != "preference":
            raise NotEncodableError("the prompt does not ask the embedded model for a preference")
        if "<history>" not in prompt.sections:
            raise NotEncodableError("the embedded model knows no item of the prompt's history")
        read = prompt_tokens(prompt.task, prompt.sections, self._vocabulary)
        chosen, rejected = (
            [*(ids[word] for word in self.words(text)), ids[END]]
            for text in (pair.chosen, pair.rejected)
        )
        return read, chosen, rejected

    def words(self, text: str) -> list[str]:
        """Find the words that the model would have written a preference text with.

        Raises:
            NotEncodableError: If there are none.
        """
        # Its texts are short; longer ones are not its own.
        lines = text.splitlines() if len(text) <= MAX_PREFERENCE_LENGTH else []
        words: list[str] = []
        for line in lines:
            # The teacher ends every line, the last one too, before it ends the text.
            words += [*(self._formed(line) or self._loose(line)), HINT_END]
        said = detokenize("preference", len(lines), words)
        if not lines or len(words) > MAX_WORDS or said != text:
            raise NotEncodableError("a text that the embedded model has no words for")
        return words

    def _formed(self, line: str) -> list[str] | None:
        """Words of a line ``factor: phrase and phrase``; ``None`` if it is not of that form."""
        factor, colon, rest = line.partition(": ")
        said = self._said_in_sentence.get(factor)
        if not colon or said is None or rest.count(_AND) > MAX_WORDS:
            return None
        phrases = next(_join(rest, said), None)
        if phrases is None:
            return None
        return [factor_token(factor), ":", *phrases]

    def _loose(self, line: str) -> list[str]:
        """Words of any other line: the longest known phrase at each position, and single marks."""
        pieces = _PIECE.findall(line)
        words: list[str] = []
        said: Mapping[str, str] = {}
        start = 0
        while start < len(pieces):
            for end in range(min(len(pieces), start + _LONGEST_PHRASE), start, -1):
                word = said.get(" ".join(pieces[start:end]), "_".join(pieces[start:end]))
                if word in self._words:
                    words.append(word)
                    start = end
                    break
            else:
                raise NotEncodableError("a text that the embedded model has no words for")
            # Phrases leave out the factor that their line begins with.
            said = self._said_in_sentence.get(words[0].replace("_", " "), {})
        return words

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(self._vocabulary.words)

    @cached_property
    def _said_in_sentence(self) -> Mapping[str, Mapping[str, str]]:
        """For each factor, what a phrase is written as behind it, and the phrase's token."""
        names = [factor_token(factor) for factor in self._vocabulary.factors]
        said: dict[str, dict[str, str]] = {}
        for name in names:
            shown = name.replace("_", " ")
            behind: dict[str, str] = {}
            # A phrase that names the factor comes first: behind the factor it is written alike to
            # one that names none, and only the first is what the model is held to.
            for word in sorted(self._words, key=lambda w: (not w.startswith(f"{name}_"), w)):
                if word not in names:
                    plain_words = word.replace("_", " ").removeprefix(f"{shown} ")
                    behind.setdefault(plain_words, word)
            said[shown] = behind
        return said


def _join(text: str, said: Mapping[str, str]) -> Iterator[list[str]]:
    """Ways to read a text as phrases with ``and`` between them, longest first phrase first."""
    if text in said:
        yield [said[text]]
    at = text.rfind(_AND)
    while at >= 0:
        if (first := said.get(text[:at])) is not None:
            for others in _join(text[at + len(_AND) :], said):
                yield [first, "and", *others]
        at = text.rfind(_AND, 0, at)
