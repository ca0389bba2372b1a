"""Pairs in the tokens of an ordinary chat model, through its own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentrec.policies.alignment.examples import NotEncodableError
from agentrec.preferences import PreferencePair


class ChatTokens:
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
        """See ``TokenIds.tokens``."""
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
