"""Preference pairs as token ids, and how they are split for training."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agentrec.embedded_model.decoding import MAX_WORDS
from agentrec.embedded_model.prompt_parser import parse_prompt
from agentrec.embedded_model.text_grammar import HINT_END, detokenize, factor_token
from agentrec.embedded_model.vocabulary import END, Vocabulary, prompt_tokens
from agentrec.errors import InputError
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


@dataclass(frozen=True)
class Example:
    """A pair in a model's tokens.

    Attributes:
        pair_id: Which pair.
        session_id: The session it is about.
        group: The user, or the session where no user is known.
        prompt_ids: Tokens of the prompt, up to where the answer begins.
        chosen_ids: Tokens of the better text, with the mark that ends it.
        rejected_ids: The same of the worse one.
    """

    pair_id: str
    session_id: str
    group: str
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longer text."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


class NotEncodableError(Exception):
    """A pair cannot be encoded; the text is the reason, the same for like cases."""


class PairTokenizer(Protocol):
    """Turns a pair into a model's tokens."""

    def tokens(self, pair: PreferencePair) -> tuple[list[int], list[int], list[int]]:
        """Return the tokens of the prompt, the chosen and the rejected text.

        Raises:
            NotEncodableError: If that cannot be done without changing the text.
        """
        ...


class ChatPairTokenizer:
    """Pairs in the tokens of an ordinary chat model: by its template, or as plain text without one.

    The tokens are those that TRL makes of the same pairs. As there, a text begins where the prompt
    with it and the prompt alone differ: templates may write both differently.

    Args:
        tokenizer: The model's own, from ``transformers``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._templated = bool(getattr(tokenizer, "chat_template", None))

    def tokens(self, pair: PreferencePair) -> tuple[list[int], list[int], list[int]]:
        """See ``PairTokenizer.tokens``."""
        turns = [{"role": turn.role, "content": turn.content} for turn in pair.prompt]
        if self._templated:
            prompt, chosen, rejected = self._from_template(turns, pair)
        else:
            text, end = plain_prompt(turns), self._tokenizer.eos_token or ""
            prompt, chosen, rejected = (
                list(self._tokenizer(text + answer)["input_ids"])
                for answer in ("", pair.chosen + end, pair.rejected + end)
            )
        begins = min(_common_prefix(prompt, chosen), _common_prefix(prompt, rejected))
        if not begins:
            raise NotEncodableError("the prompt changes completely once a text follows it")
        if begins in (len(chosen), len(rejected)):
            raise NotEncodableError("a text without a token")
        return prompt[:begins], chosen[begins:], rejected[begins:]

    def _from_template(
        self, turns: list[dict[str, str]], pair: PreferencePair
    ) -> tuple[list[int], list[int], list[int]]:
        def ids(answer: str | None) -> list[int]:
            answered = [] if answer is None else [{"role": "assistant", "content": answer}]
            encoded = self._tokenizer.apply_chat_template(
                [*turns, *answered],
                add_generation_prompt=answer is None,
                tokenize=True,
                return_dict=True,
            )
            return list(encoded["input_ids"])

        try:
            return ids(None), ids(pair.chosen), ids(pair.rejected)
        except Exception as error:  # a template is a program and may refuse, say, a system turn
            reason = " ".join(str(error).split())[:120]
            raise NotEncodableError(f"the chat template refuses it: {reason}") from error


def plain_prompt(turns: Sequence[Mapping[str, str]]) -> str:
    """Join a conversation for a model that knows no roles, with blank lines between the turns."""
    return "".join(f"{turn['content']}\n\n" for turn in turns)


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    shorter = min(len(first), len(second))
    return next((at for at in range(shorter) if first[at] != second[at]), shorter)


@dataclass(frozen=True)
class Examples:
    """Pairs that were encoded.

    Attributes:
        usable: In the order in which they were given.
        left_out: How many were not usable, by reason.
    """

    usable: tuple[Example, ...]
    left_out: Mapping[str, int]


def encode_pairs(
    pairs: Sequence[PreferencePair], encoder: PairTokenizer, max_length: int
) -> Examples:
    """Encode pairs in a model's tokens; pairs that cannot be encoded are counted and left out.

    Args:
        pairs: The pairs; of equal ones, the first is taken.
        encoder: Makes the tokens.
        max_length: Most tokens of a prompt and a text.
    """
    usable: dict[str, Example] = {}
    left_out: Counter[str] = Counter()
    for pair in pairs:
        if pair.pair_id in usable:
            left_out["the same pair again"] += 1
            continue
        try:
            usable[pair.pair_id] = _example(pair, encoder, max_length)
        except NotEncodableError as error:
            left_out[str(error)] += 1
    return Examples(tuple(usable.values()), dict(sorted(left_out.items())))


def no_usable_pair(examples: Examples) -> InputError:
    """Make the error for pairs of which none is usable."""
    reasons = ", ".join(f"{count} {why}" for why, count in examples.left_out.items())
    return InputError(f"no pair can be used ({reasons or 'there is none'})", field="pairs")


def _example(pair: PreferencePair, encoder: PairTokenizer, max_length: int) -> Example:
    prompt, chosen, rejected = map(tuple, encoder.tokens(pair))
    if chosen == rejected:
        raise NotEncodableError("both texts are the same to this model")
    group = pair.user_id or pair.session_id
    example = Example(pair.pair_id, pair.session_id, group, prompt, chosen, rejected)
    if example.length > max_length:
        raise NotEncodableError(f"longer than {max_length} tokens")
    return example


def distinct_chosen(examples: Sequence[Example]) -> list[Example]:
    """Keep the first example of each prompt with the same chosen text."""
    first: dict[tuple[tuple[int, ...], tuple[int, ...]], Example] = {}
    for example in examples:
        first.setdefault((example.prompt_ids, example.chosen_ids), example)
    return list(first.values())


def split_by_user(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split examples so that no user is on both sides.

    Args:
        examples: The examples.
        share: Share of users to hold out of training, 0 to 1. At least one user stays in, and
            where there are two or more and the share is above 0, at least one is held out.
        seed: Same seed, same users.

    Returns:
        Training and held-out examples, each in the given order.
    """

    def draw(group: str) -> str:
        return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()

    groups = sorted({example.group for example in examples}, key=draw)
    count = min(len(groups) - 1, max(1, round(share * len(groups)))) if share > 0 else 0
    apart = set(groups[:count])
    train = [example for example in examples if example.group not in apart]
    return train, [example for example in examples if example.group in apart]


def examples_hash(examples: Sequence[Example]) -> str:
    """SHA-256 over all tokens and ids, in order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr(example).encode())
    return digest.hexdigest()
