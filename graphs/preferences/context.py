"""What the preference graphs are put together from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.contracts import PreferenceRanker, PreferenceSink, RewardModel
from agentrec.errors import InputError
from agentrec.graphs.context import GraphParts
from agentrec.graphs.preferences.pairing import PairingRules
from agentrec.llm.gateway.gateway import ModelGateway


@dataclass(frozen=True)
class PreferenceParts(GraphParts):
    """What preference texts are written, rewarded and paired with.

    Attributes:
        components: The parts of every graph: catalogue, language model, prompts.
        reward_model: Says what a text is worth.
        factors: What preferences are about; empty to have the language model name them once.
        sink: Where pairs go; ``None`` to leave them in the graph's state.
        samples: Texts a session, at least 2. More: best and worst lie further apart, for as many
            calls.
        temperature: At which texts are drawn, above 0. Larger: texts that differ more.
        shown_share: Share of a history that texts are written from, above 0 to 1: its first part,
            so that what came right before the target cannot stand in a text.
        rules: What makes two texts a pair.
        seed: Of the draws.

    Raises:
        ValueError: If a number is out of range.

    Source: RLRF4Rec, preference generation: N texts a session at a temperature.
    """

    reward_model: RewardModel
    factors: tuple[str, ...] = ()
    sink: PreferenceSink | None = None
    samples: int = 6
    temperature: float = 0.8
    shown_share: float = 0.7
    rules: PairingRules = field(default_factory=PairingRules)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples is at least 2, not {self.samples}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is above 0, not {self.temperature}")
        _check_share(self.shown_share)


@dataclass(frozen=True)
class RerankingParts(GraphParts):
    """What a preference text is written and candidates are ranked with.

    Attributes:
        components: The parts of every graph; its language model ranks.
        writer: The way to the language model that writes, such as a tuned one; ``None`` for the
            one that ranks.
        factors: What the text is about; empty to have the writer name them once a catalogue.
        shown_share: Share of a history that the text is written from, above 0 to 1: its first
            part. All of it is best where the next item is to be ranked, also for a writer that was
            tuned on texts about first parts.
        by_model: Whether the language model ranks.
        recommender: Ranks as well, told the text; ``None`` for none.

    Raises:
        ValueError: If nobody ranks, or the share is out of range.

    Source: RLRF4Rec, re-ranking with the tuned model.
    """

    writer: ModelGateway | None = None
    factors: tuple[str, ...] = ()
    shown_share: float = 1.0
    by_model: bool = True
    recommender: PreferenceRanker | None = None

    def __post_init__(self) -> None:
        if not self.by_model and self.recommender is None:
            raise ValueError("nobody ranks: neither the language model nor a recommender")
        _check_share(self.shown_share)

    @property
    def writing(self) -> Components:
        """The components with the model that writes."""
        if self.writer is None:
            return self.components
        return replace(self.components, model=self.writer)


def parts_of(runtime: Runtime[PreferenceParts]) -> PreferenceParts:
    """The parts a graph was called with.

    Raises:
        InputError: If the graph was called without ``context=``; LangGraph would pass ``None``
            on, to fail somewhere deeper.
    """
    if not isinstance(runtime.context, PreferenceParts):
        raise InputError("call the graph with context=PreferenceParts(...)", field="context")
    return runtime.context


def reranking_parts_of(runtime: Runtime[RerankingParts]) -> RerankingParts:
    """The same of a graph that re-ranks.

    Raises:
        InputError: If it was called without them.
    """
    if not isinstance(runtime.context, RerankingParts):
        raise InputError("call the graph with context=RerankingParts(...)", field="context")
    return runtime.context


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"shown_share is above 0 to 1, not {share}")
