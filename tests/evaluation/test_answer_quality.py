from agentrec.errors import ModelCallError
from agentrec.evaluation.answer_quality import AnswerQuality, measure_answer_quality
from agentrec.rankings import Ranking


def ranking(**fields: object) -> Ranking:
    return Ranking.model_validate({"session_id": "s", "item_ids": ("a", "b"), **fields})


RANKINGS = [
    ranking(),
    ranking(structured=True, notes=("cut",)),
    ranking(illegal=3, repaired=True, backfilled=2, notes=("cut", "one failed")),
    ranking(repaired=True, structured=True),
    ranking(backfilled=1),
]


def test_counted_by_hand() -> None:
    failures = [ModelCallError("x", kind="timed_out"), ModelCallError("x"), ModelCallError("x")]
    found = measure_answer_quality(iter(RANKINGS), iter(failures))
    assert found == AnswerQuality(
        rankings=5,
        failed={"failed": 2, "timed_out": 1},
        clean=2,
        structured=2,
        repaired=2,
        backfilled=2,
        backfilled_items=3,
        illegal_answers=1,
        illegal=3,
        notes={"cut": 2, "one failed": 1},
    )
    assert found.share(found.clean) == 0.4
    assert AnswerQuality.model_validate_json(found.model_dump_json()) == found


def test_for_people() -> None:
    lines = measure_answer_quality(RANKINGS, [ModelCallError("x")]).lines()
    assert lines[0] == "5 rankings, 1 requests without one"
    assert "clean: 2 (40.0%)" in lines
    assert "illegal lines: 3; items filled up: 3" in lines
    assert lines[-3:] == ["failed, failed: 1", "2 times: cut", "1 times: one failed"]


def test_nothing_to_count() -> None:
    found = measure_answer_quality([])
    assert found.share(found.clean) is None
    assert found.lines()
