"""What a model's answers on test sessions were worth: their form, and the places they favour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agentrec.atomic_files import write_atomically
from agentrec.components import Components
from agentrec.evaluation.answer_quality import AnswerQuality, measure_answer_quality
from agentrec.evaluation.position_bias import PositionBias, position_bias_of, shown_order
from agentrec.rankings import Ranking
from agentrec.sessions import Session


class AnswerReport(BaseModel):
    """By name of the method.

    Attributes:
        quality: How many answers were clean, repaired, filled up and so on.
        position_bias: Hits by the place at which the target was shown first.
    """

    model_config = ConfigDict(frozen=True)

    quality: Mapping[str, AnswerQuality]
    position_bias: Mapping[str, PositionBias]

    @classmethod
    def load(cls, file: Path) -> AnswerReport:
        """Read one that was saved."""
        return cls.model_validate_json(file.read_bytes())

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        write_atomically(file, (self.model_dump_json(indent=2) + "\n").encode())


def report_answers(
    sessions: Sequence[Session],
    rankings: Mapping[str, Sequence[Ranking]],
    components: Components,
) -> AnswerReport:
    """Look at rankings of test sessions, by name of the method that they were made with."""
    order = shown_order(
        components.catalog,
        components.seed,
        max_candidates=components.max_candidates,
        ordered=components.candidates_ordered,
    )
    return AnswerReport(
        quality={name: measure_answer_quality(made) for name, made in rankings.items()},
        position_bias={
            name: position_bias_of(sessions, made, order) for name, made in rankings.items()
        },
    )
