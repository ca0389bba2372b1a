"""The chosen parts, handed to every graph as its context. Swapping a part is swapping a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from agentrec.catalog import Catalog
from agentrec.contracts import HintPolicy, HintStore
from agentrec.sessions import Session

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from agentrec.evaluation.baselines import Ranker
    from agentrec.llm.gateway.gateway import ModelGateway
    from agentrec.llm.prompts.templates import Prompts


class SessionEncoder(Protocol):
    """Turns sessions into the vectors that searches and policies work on.

    It computes and does not wait. One session may be encoded in an event loop, so it takes well
    under a millisecond; callers encode many in a thread.
    """

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        """What a policy sees of a session, ``[state_dim]``."""
        ...

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        """What a hint store is searched with, in the space of the hints' text vectors."""
        ...

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        """``state`` of many sessions, ``[batch, state_dim]``; may be none."""
        ...

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        """``query`` of many sessions, ``[batch, dimension]``; may be none."""
        ...


class HintArbiter(Protocol):
    """Decides whether two hints say the same, where their vectors alone do not tell."""

    async def same(self, first: str, second: str) -> bool:
        """Whether two hints tell a recommender the same.

        Args:
            first: The text of a hint.
            second: The text of another.

        Raises:
            ModelCallError: If it asks a model, and the call failed for good.
        """
        ...


@dataclass(frozen=True)
class Components:
    """What graphs are put together from.

    Attributes:
        catalog: The items.
        model: The way to the language model.
        prompts: What it is told.
        embeddings: Text embeddings of hints.
        encoder: Session vectors.
        hint_store: The knowledge base.
        hint_policy: Chooses hints.
        seed: Seed of candidate orders.
        list_length: How many items a ranking has, at least 1.
        shuffles: How many times a session is asked, each time with its candidates in another
            order, at least 1; what comes back is fused. Costs as many calls.
        max_candidates: How many candidates a prompt shows at most, at least 1; the others stay
            candidates and fill up behind.
        candidates_ordered: Whether sessions come with their candidates best first, as from a
            search. Then the first ones are shown and fill up; otherwise a seeded draw is.
        base_ranker: In what order candidates fill up that the model did not name; ``None`` for
            the order in which they are shown, or in which they come if that is by merit. One
            that learnt from sessions knows their targets: not for learning hints from them.
        label_length: How many characters of a label a prompt shows at most, at least 2.
        hints_offered: How many of the nearest hints a policy chooses among.
        hint_similarity: Cosine from which on two hints say the same, above 0 to 1.
        hint_grey_zone: Cosine from which on two hints may say the same, -1 to ``hint_similarity``;
            in between the arbiter decides.
        hint_arbiter: Decides there; ``None`` compares words.
        effect_correlation: Correlation of effects on the same sessions from which on two hints
            do the same, above 0; above 1 for never.
        max_harm_rate: Share of sessions, 0 to 1, that an admitted hint may make worse.
        max_hints: How many admitted hints the knowledge base may hold.
        reflection_rounds: How often a model is asked for hints at most until one repairs the
            error, at least 1.
        namespace: The catalogue that hints are about, as the hint store has it.
        run_name: Name of the run, for the provenance of hints.

    Raises:
        ValueError: If a number is out of range.
    """

    catalog: Catalog
    model: ModelGateway
    prompts: Prompts
    embeddings: Embeddings
    encoder: SessionEncoder
    hint_store: HintStore
    hint_policy: HintPolicy
    seed: int = 0
    list_length: int = 10
    shuffles: int = 1
    max_candidates: int = 100
    candidates_ordered: bool = False
    base_ranker: Ranker | None = None
    label_length: int = 200
    hints_offered: int = 32
    hint_similarity: float = 0.97
    hint_grey_zone: float = 0.85
    hint_arbiter: HintArbiter | None = None
    effect_correlation: float = 0.9
    max_harm_rate: float = 0.5
    max_hints: int = 20
    reflection_rounds: int = 1
    namespace: str = ""
    run_name: str = ""

    def __post_init__(self) -> None:
        least = {
            "list_length": 1,
            "shuffles": 1,
            "max_candidates": 1,
            "label_length": 2,
            "reflection_rounds": 1,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is at least {bound}, not {getattr(self, name)}")
