"""Talking with an embedded model about its catalogue: name items, ask for a hint's effect."""

from __future__ import annotations

import difflib
import hashlib
import random
from collections.abc import AsyncIterator, Sequence

from agentrec.catalog import clean_text
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.llm.answers.preference_statements import factor_block
from agentrec.llm.prompts.session_view import HISTORY_LENGTH, as_data, handle, hint_block, numbered
from agentrec.llm.prompts.templates import PromptName, Prompts

HELP = """\
Name an item you like, or part of its title, and the model ranks others for you.
/hint TEXT      a hint for the rankings to come (/hint prefer ...); /hint alone takes it back
/question       let the model ask what you would rather have
/preference     let it say what it thinks you prefer
/again          rank other candidates
/forget         start with an empty history
/help, /quit"""

_CANDIDATES = 50
_LISTED = 10
_NEAR = 0.6


class CatalogChat:
    """One conversation.

    Args:
        model: The embedded model; its catalogue is all it knows.
        seed: Seed of the candidates that are ranked.
    """

    def __init__(self, model: CatalogChatModel, seed: int = 0) -> None:
        self._model = model
        self._labels = model.catalog_model.vocabulary.labels
        self._folded = {label.casefold(): label for label in reversed(self._labels)}
        self._prompts = Prompts.load()
        self._seed = seed
        self._turn = 0
        self.history: list[str] = []
        self.hint: str | None = None

    async def answer(self, line: str) -> AsyncIterator[str]:
        """Answer a line, in pieces as they are written."""
        command, _, rest = line.strip().partition(" ")
        rest = clean_text(rest, 300)
        if not command or command == "/help":
            yield HELP
        elif command == "/hint":
            self.hint = rest or None
            yield f"hint: {rest}" if rest else "no hint any more"
        elif command == "/forget":
            self.history.clear()
            yield "forgotten"
        elif command == "/question":
            async for piece in self._streamed("question", self._shown() | self._candidates()):
                yield piece
        elif command == "/preference":
            factors = factor_block(self._model.catalog_model.vocabulary.factors)
            async for piece in self._streamed("preference", self._shown() | {"factors": factors}):
                yield piece
        elif command == "/again":
            self._turn += 1
            async for piece in self._ranked():
                yield piece
        elif command.startswith("/"):
            yield f"no such command: {command}; /help lists them"
        else:
            label = self._found(line.strip())
            if label is None:
                near = ", ".join(self._near(line.strip()))
                yield f"no item is called so{'; near: ' + near if near else ''}"
                return
            self.history.append(label)
            yield f"+ {label}\n"
            async for piece in self._ranked():
                yield piece

    def _found(self, text: str) -> str | None:
        """The item of a title, whole or the beginning of just one, or a part of just one."""
        folded = text.casefold()
        if folded in self._folded:
            return self._folded[folded]
        for matches in (
            [label for key, label in self._folded.items() if key.startswith(folded)],
            [label for key, label in self._folded.items() if folded in key],
        ):
            if len(matches) == 1:
                return matches[0]
        return None

    def _near(self, text: str) -> Sequence[str]:
        folded = text.casefold()
        holding = [label for key, label in self._folded.items() if folded in key]
        near = difflib.get_close_matches(folded, list(self._folded), n=5, cutoff=_NEAR)
        return [*holding[:5], *(self._folded[key] for key in near)][:5]

    async def _ranked(self) -> AsyncIterator[str]:
        values: dict[str, str | int] = {
            **self._shown(),
            **self._candidates(),
            "hint": hint_block(self.hint),
            "count": min(_LISTED, len(self._labels)),
        }
        async for piece in self._streamed("recommend", values):
            yield piece

    async def _streamed(
        self, name: PromptName, values: dict[str, str | int] | dict[str, str]
    ) -> AsyncIterator[str]:
        async for chunk in self._model.astream(self._prompts.render(name, dict(values))):
            yield chunk.text

    def _shown(self) -> dict[str, str]:
        return {"history": numbered(self.history[-HISTORY_LENGTH:])}

    def _candidates(self) -> dict[str, str]:
        others = [label for label in self._labels if label not in self.history]
        drawn_from = f"{self._seed} {self._turn} {self.history}".encode()
        rng = random.Random(hashlib.sha256(drawn_from).digest())
        drawn = rng.sample(others, min(_CANDIDATES, len(others)))
        lines = [f"{handle(index)} | {as_data(label)}" for index, label in enumerate(drawn)]
        return {"candidates": "\n".join(lines)}
