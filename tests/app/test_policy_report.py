"""What people read of a policy's gain by hint, and of several policies on the same sessions."""

import io
import json

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from agentrec.app.reports.policy_report import (
    attribution_record,
    attribution_report,
    comparison_report,
)
from agentrec.app.reports.tables import WIDE, Report, show, to_json
from agentrec.evaluation.attribution import Attribution, MeasuredHints, attribute
from agentrec.evaluation.policy_comparison import PolicyComparison, compare_policies

TEXTS = {
    "a": "Prefer [bold]old[/bold] films \x1b[31mred " + "and very long hints " * 12,
    "b": "Prefer 電影 comedies.",
    "c": "Prefer what nobody chose.",
}
SEEDS = 10


def printed(report: Report, width: int = 80) -> str:
    out = io.StringIO()
    show(report, Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def attributed(measured: bool = True, slices: bool = True) -> Attribution:
    generator = np.random.default_rng(0)
    gains = generator.normal(0.03, 0.2, (60, 3))
    options = generator.integers(-1, 2, 60)
    chosen = [None if at < 0 else "ab"[at] for at in options.tolist()]
    gained = np.where(options < 0, 0.0, gains[np.arange(60), options])
    masks = {"category: [red]war[/red]\x1b": np.arange(60) < 20, "few": np.arange(60) < 3}
    return attribute(
        chosen,
        gained,
        seed=0,
        measured=MeasuredHints(["a", "b", "c"], gains) if measured else None,
        slices=masks if slices else None,
    )


def rows(text: str, title: str) -> list[str]:
    """Lines of the table with this title."""
    return text.partition(title)[2].partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("measured", [True, False])
def test_an_attribution_fits_80_columns_and_shows_hints_in_full(measured: bool) -> None:
    text = printed(attribution_report(attributed(measured), TEXTS))
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text.partition("On which")[0]
    assert "[bold]old" in " ".join(text.split())
    assert "category: [red]war[/red]" in text


def test_each_hint_has_its_numbers() -> None:
    found = attributed()
    text = printed(attribution_report(found, TEXTS), 200)
    for one in found.hints[:2]:
        assert one.lift is not None
        lift = f"{one.lift.mean:+.3f} [{one.lift.low:+.3f}, {one.lift.high:+.3f}]"
        row = next(line for line in rows(text, "Where each") if lift in line)
        assert row.split()[0] == str(one.sessions)
        for number in (
            f"{one.wins}/{one.ties}/{one.losses}",
            f"{one.harm_rate:.0%}",
            f"{one.contribution:+.3f}",
        ):
            assert number in row
    none = next(line for line in rows(text, "Where each") if "(no hint)" in line)
    assert none.split() == [str(found.hints[-1].sessions), "(no", "hint)"]
    assert "nobody chose" not in text.partition("Had every")[0]
    assert f"Gain over no hint {found.gain.mean:+.3f} [" in text


def test_hints_measured_on_all_sessions_come_best_first() -> None:
    found = attributed()
    text = printed(attribution_report(found, TEXTS), 200)
    means = [one.for_everyone.mean for one in found.hints if one.for_everyone is not None]
    shown = [float(row.split()[0]) for row in rows(text, "Had every session") if " [" in row]
    assert shown == pytest.approx(sorted(means, reverse=True), abs=5e-4)
    assert len(shown) == 3
    assert f"Regret {found.regret:.3f}" in text
    without = printed(attribution_report(attributed(measured=False), TEXTS))
    assert "Had every" not in without
    assert "Regret" not in without


def test_slices_have_a_p_value_and_no_interval_for_few_sessions() -> None:
    found = attributed()
    lines = rows(printed(attribution_report(found, TEXTS), 200), "On which sessions")
    heads = [row for row in lines if "category" in row or row.rstrip().endswith(" few")]
    assert [row.split()[0] for row in heads] == ["20", "3"]
    assert heads[0].partition("category")[0].count("[") == 1
    assert "[" not in heads[1]
    assert f"{found.slices[0].p_value:.3f}".removeprefix("0") in heads[0]
    assert "On which" not in printed(attribution_report(attributed(slices=False), TEXTS))


def test_a_hint_without_a_text_is_shown_by_its_id() -> None:
    text = printed(attribution_report(attributed(), {}))
    assert any(line.rstrip().endswith(" a") for line in text.splitlines())
    assert attribution_record(attributed(), {})["texts"] == {}


def test_an_attribution_without_a_hint_says_so() -> None:
    text = printed(attribution_report(attribute([None, None], np.zeros(2), seed=0), {}))
    assert "Gain over no hint +0.000 [+0.000, +0.000] on 2 sessions, 95 % intervals." in text
    assert "(no hint)" in text


def test_the_json_of_an_attribution_holds_all_with_its_hints() -> None:
    found = attributed()
    record = json.loads(to_json(attribution_record(found, {**TEXTS, "other": "not of these"})))
    assert record.pop("texts") == TEXTS
    assert Attribution.model_validate(record) == found


def compared(name: str = "other", level: float = 0.95) -> PolicyComparison:
    generator = np.random.default_rng(0)
    base = generator.uniform(0, 1, (1, 200))
    ndcg, given = {"no_hint": base}, {"no_hint": np.zeros((1, 200), dtype=bool)}
    for each in ("best_single", "categorical_ppo", "value_regression", name):
        seeds = 1 if each == "best_single" else SEEDS
        ndcg[each] = np.clip(base + generator.normal(0.03, 0.2, (seeds, 200)), 0, 1)
        given[each] = generator.random((seeds, 200)) < 0.7
    return compare_policies(ndcg, given, seed=0, resamples=200, level=level)


def row_of(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(name + " ")).split()


@pytest.mark.parametrize("width", [80, WIDE])
def test_a_comparison_shows_every_number_whole(width: int) -> None:
    comparison = compared()
    text = printed(comparison_report(comparison), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    comma = ", " if width == WIDE else ","
    for one in comparison.policies:
        cells = " ".join(row_of(text, one.name))
        assert cells.startswith(f"{one.name} {one.ndcg.mean:.3f} ")
        assert cells.endswith(f" {one.given:.0%}")
        for interval in (one.over_no_hint, one.over_best_single):
            if interval is not None and interval.low < interval.high:
                ends = f"[{interval.low:+.3f}{comma}{interval.high:+.3f}]"
                assert f" {interval.mean:+.3f} {ends}" in cells
        if one.seed_spread is not None:
            assert f" {one.seed_spread:.3f} " in cells
    # Neither of the two references has an interval over itself.
    expected = [1, 1, 2, 2, 2] if width == 80 else [2, 2, 3, 3, 3]
    rows_of = [" ".join(row_of(text, one.name)) for one in comparison.policies]
    assert [row.count("[") for row in rows_of] == expected


def test_a_comparison_says_what_its_numbers_mean() -> None:
    text = " ".join(printed(comparison_report(compared(level=0.9), note="20 negatives")).split())
    assert "Hint policies on 200 sessions: mean [90 % interval]" in text
    assert "bootstrap over sessions" in text
    assert "1 in 10 excludes 0" in text
    assert f"varies over {SEEDS} seeds, which no interval includes" in text
    assert text.endswith("20 negatives")


def test_the_json_of_a_comparison_comes_back() -> None:
    comparison = compared("[bold]ppo[/bold]\x1b[31m 電影")
    assert PolicyComparison.model_validate_json(to_json(comparison)) == comparison
