"""Arbiters: whether two hints mean the same where their vectors leave it open."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentrec.contracts import HintArbiter
from agentrec.errors import InputError
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.session_view import as_data
from agentrec.llm.prompts.templates import Prompts

_WORD = re.compile(r"[^\W_]+")
_EMPTY = (
    "a an and any are as at be but by do for from has have if in into is it items its like more"
    " most of on or rather recommend should some such than that the their them these they this to"
    " users very what when which who will with you your"
)
_EMPTY_WORDS = frozenset(_EMPTY.split())


@dataclass(frozen=True)
class RuleArbiter:
    """Two hints mean the same if they consist of the same words, in any order.

    It costs nothing and never confuses "prefer" and "avoid". A paraphrase passes as new; its
    effects reveal it later.

    Attributes:
        overlap: Smallest share of common words, above 0 to 1.
    """

    overlap: float = 0.99

    async def same(self, first: str, second: str) -> bool:
        """See ``HintArbiter``."""
        words, others = _words(first), _words(second)
        return len(words & others) >= self.overlap * max(len(words | others), 1)


@dataclass(frozen=True)
class ModelArbiter:
    """Asks the language model.

    Attributes:
        model: Its gateway.
        prompts: Prompts, of which ``same`` is used.
    """

    model: ModelGateway
    prompts: Prompts

    async def same(self, first: str, second: str) -> bool:
        """See ``HintArbiter``; an answer that is neither yes nor no counts as no."""
        messages = self.prompts.render("same", {"first": as_data(first), "second": as_data(second)})
        words = _WORD.findall((await self.model.ask("same", messages)).casefold())
        return bool(words) and words[0] == "yes"


def arbiter_named(name: str, model: ModelGateway, prompts: Prompts) -> HintArbiter:
    """Return the arbiter that a setting names.

    Raises:
        InputError: If it is neither ``rule`` nor ``model``.
    """
    if name == "rule":
        return RuleArbiter()
    if name == "model":
        return ModelArbiter(model, prompts)
    raise InputError(f"is 'rule' or 'model', not {name!r}", field="hint_arbiter")


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold())) - _EMPTY_WORDS
