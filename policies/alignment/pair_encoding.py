"""From preference pairs to the token ids that are trained on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentrec.preferences import PreferencePair


@dataclass(frozen=True)
class Example:
    """A pair as a model reads it.

    Attributes:
        pair_id: Which pair.
        session_id: The session it is about.
        group: Whose it is: the user, or the session where no user is known.
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
    """A pair cannot be said in a model's tokens; the text is the reason, equal for like cases."""


class PairTokenizer(Protocol):
    """Says a pair in a model's tokens."""

    def tokens(self, pair: PreferencePair) -> tuple[list[int], list[int], list[int]]:
        """Tokens of the prompt, the chosen and the rejected text.

        Raises:
            NotEncodableError: If that cannot be done without changing what is said.
        """
        ...


@dataclass(frozen=True)
class Examples:
    """Pairs that can be trained on.

    Attributes:
        usable: In the order in which they were given.
        left_out: How many were not usable, by reason.
    """

    usable: tuple[Example, ...]
    left_out: Mapping[str, int]


def encode_pairs(
    pairs: Sequence[PreferencePair], encoder: PairTokenizer, max_length: int
) -> Examples:
    """Say pairs in a model's tokens; what cannot be said is counted and left out.

    Args:
        pairs: The pairs; of two that are the same, the first is taken.
        encoder: Knows the tokens.
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
    """Examples whose prompt and chosen text did not come before: what is learnt by heart."""
    first: dict[tuple[tuple[int, ...], tuple[int, ...]], Example] = {}
    for example in examples:
        first.setdefault((example.prompt_ids, example.chosen_ids), example)
    return list(first.values())


def split_by_user(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Part examples so that no user is on both sides.

    Args:
        examples: The examples.
        share: Share of users to keep out of training, 0 to 1. At least one user stays in, and
            where there are two or more and the share is above 0, at least one is kept out.
        seed: Same seed, same users.

    Returns:
        What to train on, and what to look at, each in the given order.
    """
    groups = sorted({example.group for example in examples}, key=lambda group: _draw(seed, group))
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


def _draw(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()


class ChatPairTokenizer:
    """Prompt and texts as the chat template writes them; without one, as plain text.

    The tokens are those that TRL makes of the same pairs. As there, a text begins where the prompt
    with it and the prompt alone part: templates may write both differently.

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
            prompt, chosen, rejected = self._from_text(plain_prompt(turns), pair)
        begins = min(_common(prompt, chosen), _common(prompt, rejected))
        if not begins:
            raise NotEncodableError("the prompt is gone once a text follows it")
        if begins in (len(chosen), len(rejected)):
            raise NotEncodableError("a text without a token")
        return prompt[:begins], chosen[begins:], rejected[begins:]

    def _from_template(
        self, turns: list[dict[str, str]], pair: PreferencePair
    ) -> tuple[list[int], list[int], list[int]]:
        try:
            return (
                self._templated_ids(turns, add_generation_prompt=True),
                self._templated_ids([*turns, {"role": "assistant", "content": pair.chosen}]),
                self._templated_ids([*turns, {"role": "assistant", "content": pair.rejected}]),
            )
        except Exception as error:  # a template is a program and may refuse, say, a system turn
            told = " ".join(str(error).split())[:120]
            raise NotEncodableError(f"the chat template refuses it: {told}") from error

    def _templated_ids(
        self, turns: list[dict[str, str]], *, add_generation_prompt: bool = False
    ) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            turns, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True
        )
        return list(encoded["input_ids"])

    def _from_text(
        self, prompt: str, pair: PreferencePair
    ) -> tuple[list[int], list[int], list[int]]:
        end = self._tokenizer.eos_token or ""
        return (
            list(self._tokenizer(prompt)["input_ids"]),
            list(self._tokenizer(prompt + pair.chosen + end)["input_ids"]),
            list(self._tokenizer(prompt + pair.rejected + end)["input_ids"]),
        )


def plain_prompt(turns: Sequence[Mapping[str, str]]) -> str:
    """A conversation for a model that knows no roles: its contents, blank lines between them."""
    return "".join(f"{turn['content']}\n\n" for turn in turns)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    shorter = min(len(first), len(second))
    return next((at for at in range(shorter) if first[at] != second[at]), shorter)
