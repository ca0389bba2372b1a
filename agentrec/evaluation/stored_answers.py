"""What answers are worth that some model gave elsewhere, read as our own are read.

The answers are lines of JSON, ``{"session_id": ..., "raw": ...}``, to sessions whose candidates
were shown in their stored order::

    dataset = load_folder("my-data")
    answers = read_stored_answers(Path("answers.jsonl"))
    graded = grade_stored_answers(dataset.train, dataset.catalog, answers)
    print(*graded.lines(), sep=os.linesep)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentrec.catalog import Catalog
from agentrec.data.records import LocatedRecord, read_json_lines
from agentrec.evaluation.intervals import Interval, bootstrap_intervals
from agentrec.evaluation.metrics import CUTOFF, as_ranks, hits_of_ranks, ndcg_of_ranks
from agentrec.evaluation.position_bias import (
    DEFAULT_BINS,
    PositionBias,
    measure_position_bias,
    target_place,
)
from agentrec.llm.answers.parsing import ParsedRanking, parse_ranking
from agentrec.llm.prompts.session_view import SessionView
from agentrec.sessions import Session


class StoredAnswersReport(BaseModel):
    """Stored answers, graded; the target counts where the model named it, nothing is filled up.

    Attributes:
        sessions: Sessions with an answer; every number is over these.
        unanswered: Sessions without one.
        unknown: Answers to sessions that were not given.
        hr: HR@10 with its interval.
        ndcg: NDCG@10 with its interval.
        named: Candidates named in all.
        illegal: Lines that named no candidate, or one twice.
        incomplete: Answers that named fewer than ten candidates (or than there are).
        position_bias: Hits by the target's place in the stored order.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int = Field(ge=1)
    unanswered: int = Field(ge=0)
    unknown: int = Field(ge=0)
    hr: Interval
    ndcg: Interval
    named: int = Field(ge=0)
    illegal: int = Field(ge=0)
    incomplete: int = Field(ge=0)
    position_bias: PositionBias

    def lines(self) -> list[str]:
        """The report for a person, one finding a line."""
        return [
            f"{self.sessions} answers; {self.unanswered} sessions without one, "
            f"{self.unknown} answers to other sessions",
            *(
                f"{name} {each.mean:.3f} [{each.low:.3f}, {each.high:.3f}]"
                for name, each in (("HR@10", self.hr), ("NDCG@10", self.ndcg))
            ),
            f"illegal: {self.illegal} of {self.named + self.illegal} lines; "
            f"{self.incomplete} answers fall short",
            *self.position_bias.lines(),
        ]


def read_stored_answers(file: Path) -> dict[str, str]:
    """Read answers by session id.

    Args:
        file: JSON lines with ``session_id`` and ``raw``; other fields are passed over.

    Raises:
        InputError: If the file or a line is not as it should be, or a session is answered twice.
    """
    answers: dict[str, str] = {}
    for line, fields in read_json_lines(file):
        record = LocatedRecord(file, line, fields)
        session_id = record.identity("session_id")
        raw = record.required("raw")
        if not isinstance(raw, str):
            raise record.error("must be a text: the model's answer as it came", "raw")
        if session_id in answers:
            raise record.error(f"{session_id!r} is answered twice", "session_id")
        answers[session_id] = raw
    return answers


def grade_stored_answers(
    sessions: Sequence[Session],
    catalog: Catalog,
    answers: Mapping[str, str],
    *,
    shown: Mapping[str, str] | None = None,
    bins: Sequence[tuple[int, int]] = DEFAULT_BINS,
    seed: int = 0,
) -> StoredAnswersReport:
    """Grade answers to sessions.

    Args:
        sessions: Sessions with targets and candidates, in the order in which the model saw them.
        catalog: The items.
        answers: The model's text by session id.
        shown: What the model saw of each item, by item id; bare titles if not given. Candidates
            of a session that look the same are never told apart by guessing: naming them is
            illegal.
        bins: Ranges of places for the position bias.
        seed: Seed of the intervals.

    Raises:
        ValueError: If no session has an answer, or one lacks its target or candidates.
    """
    answered = [session for session in sessions if session.session_id in answers]
    if not answered:
        raise ValueError("none of the answers is to one of the sessions")
    labels = {i: item.title for i, item in catalog.items()} if shown is None else shown
    parsed = [_parse(session, labels, answers[session.session_id]) for session in answered]
    ranks = as_ranks(
        _rank(session.target, each) for session, each in zip(answered, parsed, strict=True)
    )
    hits = hits_of_ranks(ranks)
    hr, ndcg = bootstrap_intervals(np.stack([hits, ndcg_of_ranks(ranks)], axis=1), seed=seed)
    asked = [min(CUTOFF, len(session.candidates)) for session in answered]
    return StoredAnswersReport(
        sessions=len(answered),
        unanswered=len(sessions) - len(answered),
        unknown=len(answers.keys() - {session.session_id for session in sessions}),
        hr=hr,
        ndcg=ndcg,
        named=sum(len(each.item_ids) for each in parsed),
        illegal=sum(each.illegal for each in parsed),
        incomplete=sum(
            len(each.item_ids) < count for each, count in zip(parsed, asked, strict=True)
        ),
        position_bias=measure_position_bias(
            [target_place(session) for session in answered], [bool(hit) for hit in hits], bins
        ),
    )


def _parse(session: Session, labels: Mapping[str, str], answer: str) -> ParsedRanking:
    shown = tuple(labels[item_id] for item_id in session.candidates)
    return parse_ranking(answer, SessionView(session.session_id, (), session.candidates, shown))


def _rank(target: str | None, parsed: ParsedRanking) -> int | None:
    return parsed.item_ids.index(target) + 1 if target in parsed.item_ids else None
