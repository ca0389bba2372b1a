"""What a run would ask, word for word, with nobody asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.messages import BaseMessage

from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.in_memory import InMemoryHintStore
from agentrec.testing.scripted_chat_model import ScriptedChatModel

Conversations = list[Sequence[BaseMessage]]

TYPICAL_HINT = Hint(text="Prefer what shares its genre and its decade with the end of the history.")


class PromptRecorder(ModelGateway):
    """Keeps what it is asked and answers in a word, so that prompts are those of a run."""

    def __init__(self) -> None:
        super().__init__(ScriptedChatModel(), "nobody", structured="never")
        self.asked: dict[str, Conversations] = {}

    async def ask(
        self, node: str, messages: Sequence[BaseMessage], sample: int = 0, **_: Any
    ) -> str:
        """Keep the conversation."""
        self.asked.setdefault(node, []).append(messages)
        return "none"


@dataclass(frozen=True)
class _NoEncoder:
    """Nothing is searched for."""

    nothing: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        return self.nothing

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        return self.nothing

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.zeros((len(sessions), 1), np.float32)

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return np.zeros((len(sessions), 1), np.float32)


def recording_components(
    settings: RunSettings, dataset: Dataset, prompts: Prompts
) -> tuple[Components, PromptRecorder]:
    """Parts that make the prompts of a run, and what keeps them."""
    recorder = PromptRecorder()
    components = Components(
        catalog=dataset.catalog,
        model=recorder,
        prompts=prompts,
        embeddings=HashedWordEmbeddings(1),
        encoder=_NoEncoder(),
        hint_store=InMemoryHintStore(1),
        hint_policy=NoHintPolicy(),
        seed=settings.seed,
        max_candidates=settings.llm.max_candidates,
        label_length=settings.llm.label_length,
    )
    return components, recorder
