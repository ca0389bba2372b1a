"""How well a model kept to what it was asked for, over many rankings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agentrec.atomic_files import write_atomically
from agentrec.components import Components
from agentrec.errors import ModelCallError
from agentrec.evaluation.position_bias import PositionBias, position_bias_of, shown_order
from agentrec.rankings import Ranking
from agentrec.sessions import Session


class AnswerQuality(BaseModel):
    """Counts over rankings; shares are of ``rankings``, 0 to 1, ``None`` where there are none.

    Attributes:
        rankings: How many there are.
        failed: Requests that came to no ranking, by kind of failure; not among ``rankings``.
        clean: Rankings of answers with nothing wrong: nothing illegal, repaired or filled up.
        structured: Rankings read from JSON.
        repaired: Rankings for which the model had to be asked a second time.
        backfilled: Rankings with an item that the model did not name.
        backfilled_items: How many such items there are in all.
        illegal_answers: Rankings of answers with an illegal line.
        illegal: How many lines of answers named no candidate, or one twice.
        notes: How many rankings carry each note.
    """

    model_config = ConfigDict(frozen=True)

    rankings: int = Field(ge=0)
    failed: Mapping[str, int]
    clean: int = Field(ge=0)
    structured: int = Field(ge=0)
    repaired: int = Field(ge=0)
    backfilled: int = Field(ge=0)
    backfilled_items: int = Field(ge=0)
    illegal_answers: int = Field(ge=0)
    illegal: int = Field(ge=0)
    notes: Mapping[str, int]

    def share(self, count: int) -> float | None:
        """One of the counts as a share of all rankings."""
        return count / self.rankings if self.rankings else None

    def lines(self) -> list[str]:
        """The report for a person, one finding a line."""
        shares = {
            "clean": self.clean,
            "read from JSON": self.structured,
            "asked for a second time": self.repaired,
            "with illegal lines": self.illegal_answers,
            "filled up": self.backfilled,
        }
        of_all = max(1, self.rankings)
        told = [f"{self.rankings} rankings, {sum(self.failed.values())} requests without one"]
        told += [f"{name}: {n} ({n / of_all:.1%})" for name, n in shares.items()]
        told.append(f"illegal lines: {self.illegal}; items filled up: {self.backfilled_items}")
        told += [f"failed, {kind}: {n}" for kind, n in self.failed.items()]
        return told + [f"{n} times: {note}" for note, n in self.notes.items()]


def measure_answer_quality(
    rankings: Iterable[Ranking], failures: Iterable[ModelCallError] = ()
) -> AnswerQuality:
    """Count over rankings and over the failures of those that did not come about."""
    made = list(rankings)
    notes = Counter(note for ranking in made for note in ranking.notes)
    failed = Counter(failure.kind for failure in failures)
    return AnswerQuality(
        rankings=len(made),
        failed=dict(sorted(failed.items())),
        clean=sum(not (each.illegal or each.repaired or each.backfilled) for each in made),
        structured=sum(each.structured for each in made),
        repaired=sum(each.repaired for each in made),
        backfilled=sum(each.backfilled > 0 for each in made),
        backfilled_items=sum(each.backfilled for each in made),
        illegal_answers=sum(each.illegal > 0 for each in made),
        illegal=sum(each.illegal for each in made),
        notes=dict(sorted(notes.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


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
