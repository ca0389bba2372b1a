import json

import numpy as np
import pytest
from pydantic import ValidationError

from agentrec.evaluation.intervals import bootstrap_interval
from agentrec.evaluation.metrics import as_ranks, ndcg_of_ranks
from agentrec.evaluation.report import MetricsReport, build_report

RANKS: dict[str, list[int | None]] = {
    "policy": [1, 3, None, 1],
    "no_hint": [3, None, None, 1],
}


def report() -> MetricsReport:
    return build_report(
        RANKS, [("policy", "no_hint")], {"made": 8, "cached": 2, "hit_rate": 0.2}, seed=0
    )


def test_the_file_has_exactly_the_agreed_shape() -> None:
    written = json.loads(report().model_dump_json())
    interval = {"mean", "low", "high"}
    metrics = {"ndcg@10", "hr@10", "mrr"}
    assert set(written) == {"methods", "differences", "sessions", "llm_calls"}
    assert list(written["methods"]) == ["policy", "no_hint"]
    assert list(written["differences"]) == ["policy - no_hint"]
    for row in (*written["methods"].values(), *written["differences"].values()):
        assert set(row) == metrics
        assert all(set(cell) == interval for cell in row.values())
    assert written["sessions"] == 4
    assert written["llm_calls"] == {"made": 8, "cached": 2, "hit_rate": 0.2}
    assert MetricsReport.model_validate(written) == report()


def test_means_computed_by_hand() -> None:
    found = report()
    assert found.methods["policy"]["ndcg@10"].mean == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert found.methods["policy"]["hr@10"].mean == pytest.approx(3 / 4)
    assert found.methods["no_hint"]["mrr"].mean == pytest.approx((1 / 3 + 1) / 4)
    assert found.differences["policy - no_hint"]["ndcg@10"].mean == pytest.approx((0.5 + 0.5) / 4)


def test_intervals_are_those_of_single_calls() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(1, 21, size=60).tolist() for _ in range(2))
    found = build_report({"a": one, "b": other}, [("a", "b")], {}, seed=9)
    first, second = (ndcg_of_ranks(as_ranks(ranks)) for ranks in (one, other))
    for got, expected in (
        (found.methods["a"]["ndcg@10"], bootstrap_interval(first, seed=9)),
        (found.differences["a - b"]["ndcg@10"], bootstrap_interval(first - second, seed=9)),
    ):
        assert (got.mean, got.low, got.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )


def test_methods_need_the_same_sessions() -> None:
    with pytest.raises(ValueError, match="same sessions"):
        build_report({"a": [1, 2], "b": [1]}, [], {}, seed=0)
    with pytest.raises(ValueError, match="same sessions"):
        build_report({}, [], {}, seed=0)
    with pytest.raises(ValueError, match="at least one session"):
        build_report({"a": []}, [], {}, seed=0)


def test_a_difference_needs_known_methods() -> None:
    with pytest.raises(ValueError, match="oracle"):
        build_report(RANKS, [("policy", "oracle")], {}, seed=0)


def test_a_row_without_a_metric_is_refused() -> None:
    broken = report().model_dump()
    del broken["methods"]["policy"]["mrr"]
    with pytest.raises(ValidationError, match="policy"):
        MetricsReport.model_validate(broken)
