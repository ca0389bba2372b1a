"""What the preference graphs are put together from."""

from __future__ import annotations

from dataclasses import dataclass, field

from langgraph.runtime import Runtime

from agentrec.components import Components
from agentrec.contracts import PreferenceSink, RewardModel
from agentrec.errors import InputError
from agentrec.graphs.pairing import PairingRules


@dataclass(frozen=True)
class PreferenceParts:
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

    components: Components
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
        if not 0 < self.shown_share <= 1:
            raise ValueError(f"shown_share is above 0 to 1, not {self.shown_share}")


def parts_of(runtime: Runtime[PreferenceParts]) -> PreferenceParts:
    """The parts a graph was called with.

    Raises:
        InputError: If the graph was called without ``context=``; LangGraph would pass ``None``
            on, to fail somewhere deeper.
    """
    if not isinstance(runtime.context, PreferenceParts):
        raise InputError("call the graph with context=PreferenceParts(...)", field="context")
    return runtime.context
