import io
import json

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from agentrec.app.reports.comparison_report import comparison_json, print_comparison
from agentrec.app.reports.run_report import WIDE
from agentrec.evaluation.policy_comparison import PolicyComparison, compare_policies

HOSTILE = "[bold]ppo[/bold]\x1b[31m\n:smile: 電影 " + "and a name without an end " * 5
MANY = 10


def _comparison(names: tuple[str, ...] = (), level: float = 0.95) -> PolicyComparison:
    generator = np.random.default_rng(0)
    base = generator.uniform(0, 1, (1, 200))
    ndcg, given = {"no_hint": base}, {"no_hint": np.zeros((1, 200), dtype=bool)}
    for name in ("best_single", "categorical_ppo", "value_regression", *names):
        seeds = 1 if name == "best_single" else MANY
        ndcg[name] = np.clip(base + generator.normal(0.03, 0.2, (seeds, 200)), 0, 1)
        given[name] = generator.random((seeds, 200)) < 0.7
    return compare_policies(ndcg, given, seed=0, resamples=200, level=level)


def _printed(comparison: PolicyComparison, width: int = 80, note: str = "") -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    print_comparison(comparison, console, note=note)
    return out.getvalue()


def _row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name + " "))


def test_80_columns_hold_every_number_whole() -> None:
    comparison = _comparison()
    text = _printed(comparison)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text
    for one in comparison.policies:
        row = _row(text, one.name)
        assert f" {one.ndcg.mean:.3f} ".replace(" 0.", " .") in row
        assert row.split()[-1] == f"{one.given:.0%}"
        for interval in (one.over_no_hint, one.over_best_single):
            if interval is not None and interval.low < interval.high:
                told = f"{interval.mean:+.3f} [{interval.low:+.3f},{interval.high:+.3f}]"
                assert told.replace("0.", ".") in row
        if one.seed_spread is not None:
            assert f" {one.seed_spread:.3f} ".replace(" 0.", " .") in row


def test_the_two_that_all_are_compared_with_have_no_interval_over_themselves() -> None:
    text = _printed(_comparison())
    assert _row(text, "no_hint").count("[") == 1
    assert " +.000 " in _row(text, "no_hint")
    assert _row(text, "best_single").count("[") == 1
    assert _row(text, "best_single").split()[-1] == "72%"


def test_wide_terminals_show_zeros_and_the_interval_of_the_mean() -> None:
    comparison = _comparison()
    text = _printed(comparison, WIDE)
    assert max(map(cell_len, text.splitlines())) <= WIDE
    assert "…" not in text
    one = comparison.policies[2]
    row = _row(text, one.name)
    assert f"{one.ndcg.mean:.3f} [{one.ndcg.low:.3f}, {one.ndcg.high:.3f}]" in row
    gain = one.over_no_hint
    assert f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" in row
    assert row.count("[") == 3


@pytest.mark.parametrize("width", [80, WIDE])
def test_foreign_names_and_notes_are_shown_as_they_are(width: int) -> None:
    text = _printed(_comparison((HOSTILE,)), width, note="[red]20[/red] negatives\x1b[2J :smile:")
    assert "\x1b" not in text
    assert max(map(cell_len, text.splitlines())) <= width
    first = "".join(line.split(" ")[0] for line in text.splitlines() if "[bold" in line)
    assert first.startswith("[bold]ppo[/bold]")
    assert ":smile:" in text
    assert "電影" in text
    assert text.rstrip().endswith("[red]20[/red] negatives [2J :smile:")


def test_it_says_what_the_numbers_mean() -> None:
    text = " ".join(_printed(_comparison(level=0.9)).split())
    assert "Hint policies on 200 sessions: mean [90 % interval]" in text
    assert "bootstrap over sessions" in text
    assert "1 of 10 leaves 0 outside" in text
    assert f"spreads over {MANY} seeds, which no interval holds" in text


def test_what_rounds_to_nothing_has_no_minus_and_whole_numbers_stay() -> None:
    ndcg = {"no_hint": np.ones((1, 4)), "a": np.full((2, 4), 0.9999), "b": np.zeros((1, 4))}
    given = {name: np.zeros(values.shape, dtype=bool) for name, values in ndcg.items()}
    text = _printed(compare_policies(ndcg, given, seed=0))
    assert "-.000" not in text
    assert _row(text, "a").split() == ["a", "1.000", "+.000", ".000", "0%"]
    assert _row(text, "b").split() == ["b", ".000", "-1.000", "0%"]


def test_as_json_it_is_ascii_and_comes_back() -> None:
    comparison = _comparison((HOSTILE,))
    text = comparison_json(comparison)
    assert text.isascii()
    assert "\x1b" not in text
    assert PolicyComparison.model_validate(json.loads(text)) == comparison
