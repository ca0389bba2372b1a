"""Preference pairs as token ids, and how they are split for training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentrec.errors import InputError
from agentrec.preferences import PreferencePair


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
