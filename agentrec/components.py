"""The components of a recommender, passed to every graph as its context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from agentrec.catalog import Catalog
from agentrec.contracts import HintArbiter, HintPolicy, HintStore, SessionEncoder

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

    from agentrec.evaluation.baselines import Ranker
    from agentrec.llm.gateway.gateway import ModelGateway
    from agentrec.llm.prompts.templates import Prompts

_SMALLEST = {
    "list_length": 1,
    "shuffles": 1,
    "max_candidates": 1,
    "label_length": 2,
    "reflection_rounds": 1,
}


@dataclass(frozen=True)
class Components:
    """What graphs work with. To swap a component, swap its field.

    Attributes:
        catalog: The items.
        model: Any LangChain chat model, or a ``ModelGateway``. A gateway is put around a plain
            model: it answers equal requests once, retries, and counts calls. Build the gateway
            yourself for a journal on disk, limits, or a budget. Its client's own retries should be
            off (``max_retries=0``).
        prompts: The prompts.
        embeddings: Text embeddings of hints.
        encoder: Session vectors.
        hint_store: The knowledge base.
        hint_policy: Chooses hints.
        seed: Seed of candidate orders.
        list_length: Items in a ranking, at least 1.
        shuffles: Requests per session, each with the candidates in another order, at least 1. The
            rankings are fused. Costs as many calls.
        max_candidates: Most candidates in a prompt, at least 1. The others stay candidates and
            fill up the end of a ranking.
        candidates_ordered: Whether sessions list their candidates best first, as a search does.
            Then the first ones are shown and fill up; otherwise a seeded random order decides.
        base_ranker: Ranks the candidates that the model did not name; ``None`` keeps the order in
            which they are shown (or listed, if ``candidates_ordered``). A ranker that was trained
            on sessions knows their targets: do not learn hints from those sessions with it.
        label_length: Most characters of an item's label in a prompt, at least 2.
        hints_offered: How many of the nearest hints a policy chooses from.
        hint_similarity: Two hints with at least this cosine mean the same, above 0 to 1.
        hint_grey_zone: Between this cosine, -1 to ``hint_similarity``, and ``hint_similarity`` the
            arbiter decides whether two hints mean the same.
        hint_arbiter: The arbiter; ``None`` compares words.
        effect_correlation: Two hints whose effects on the same sessions correlate at least this
            much do the same, above 0; above 1 for never.
        max_harm_rate: Largest share of sessions, 0 to 1, that an admitted hint may make worse.
        max_hints: Most admitted hints in the knowledge base.
        reflection_rounds: Most requests for hints per session, at least 1, until one hint repairs
            the error.
        english_hints_only: Whether to reject proposed hints in other languages than English, the
            only one in which orders to the model are recognised. The catalogue's words count as
            English.
        namespace: The hint store's name for the catalogue.
        run_name: Name of the run, for the provenance of hints.

    Raises:
        ValueError: If a number is out of range.
    """

    catalog: Catalog
    model: BaseChatModel | ModelGateway
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
    english_hints_only: bool = True
    namespace: str = ""
    run_name: str = ""

    def __post_init__(self) -> None:
        for name, smallest in _SMALLEST.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} must be at least {smallest}, not {getattr(self, name)}")
        # Here, not in `gateway`: copies made by `replace` share the gateway and its answers.
        object.__setattr__(self, "model", _with_gateway(self.model))

    @property
    def gateway(self) -> ModelGateway:
        """The gateway to the language model."""
        return cast("ModelGateway", self.model)


def _with_gateway(model: BaseChatModel | ModelGateway) -> ModelGateway:
    # Imported late: loading the core loads nothing above it.
    from langchain_core.language_models import BaseChatModel

    if not isinstance(model, BaseChatModel):
        return model
    from agentrec.llm.gateway.gateway import ModelGateway

    return ModelGateway(model)
