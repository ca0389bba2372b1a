import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agentrec.app.reports.attribution_report import attribution_json, print_attribution
from agentrec.evaluation.attribution import Attribution, MeasuredHints, attribute

TEXTS = {
    "a": "Prefer [bold]old[/bold] films \x1b[31mred " + "and very long hints " * 12,
    "b": "Prefer 電影 comedies.",
    "c": "Prefer what nobody chose.",
}


def _attribution(measured: bool = True, slices: bool = True) -> Attribution:
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


def _printed(attribution: Attribution, width: int = 80, **more: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    print_attribution(attribution, TEXTS, console, **more)
    return out.getvalue()


def _rows(text: str, title: str) -> list[str]:
    """Lines of the table with this title."""
    return text.partition(title)[2].partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("measured", [True, False])
def test_it_fits_80_columns_and_shows_foreign_text_as_it_is(measured: bool) -> None:
    text = _printed(_attribution(measured))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    flat = " ".join(text.split())
    assert "[bold]old" in flat
    assert "category: [red]war[/red]" in flat
    assert "電影" in text
    assert "lift (interval)" in text


def test_a_long_hint_is_shown_whole() -> None:
    text = _printed(_attribution(measured=False, slices=False))
    assert text.count("hints") >= 12
    assert "…" not in text


def test_each_hint_has_its_numbers() -> None:
    told = _attribution()
    text = _printed(told, width=200)
    for one in told.hints[:2]:
        assert one.lift is not None
        lift = f"{one.lift.mean:+.3f} [{one.lift.low:+.3f}, {one.lift.high:+.3f}]"
        row = next(line for line in _rows(text, "Where each") if lift in line)
        assert row.split()[0] == str(one.sessions)
        assert f"{one.wins}/{one.ties}/{one.losses}" in row
        assert f"{one.harm_rate:.0%}" in row
        assert f"{one.contribution:+.3f}" in row
    none = next(line for line in _rows(text, "Where each") if "(no hint)" in line)
    assert none.split() == [str(told.hints[-1].sessions), "(no", "hint)"]
    assert "nobody chose" not in text.partition("Had every")[0]
    assert f"Gain over no hint {told.gain.mean:+.3f}" in text


def test_what_was_measured_for_everyone_comes_best_first() -> None:
    told = _attribution()
    rows = _rows(_printed(told, width=200), "Had every session")
    means = [one.for_everyone.mean for one in told.hints if one.for_everyone is not None]
    shown = [float(row.split()[0]) for row in rows if " [" in row and row[0] in "+-"]
    assert shown == pytest.approx(sorted(means, reverse=True), abs=5e-4)
    assert len(shown) == 3
    assert f"Regret {told.regret:.3f}" in _printed(told)
    without = _printed(_attribution(measured=False))
    assert "Had every" not in without
    assert "Regret" not in without


def test_slices_show_what_was_chosen_most_and_no_interval_of_few() -> None:
    told = _attribution()
    rows = _rows(_printed(told, width=200), "For which sessions")
    heads = [row for row in rows if "category" in row or row.rstrip().endswith(" few")]
    assert [row.split()[0] for row in heads] == ["20", "3"]
    assert "[+" in heads[0].partition("category")[0] or "[-" in heads[0].partition("category")[0]
    assert "[" not in heads[1]
    assert f"{told.slices[0].p_value:.3f}".removeprefix("0") in heads[0]
    fewer = _printed(told, width=200, most_in_slice=1)
    assert len(_rows(fewer, "For which")) < len(rows)
    assert "For which" not in _printed(_attribution(slices=False))


def test_as_json_it_is_ascii_and_holds_all_with_the_hints() -> None:
    told = _attribution()
    text = attribution_json(told, {**TEXTS, "other": "not of these"})
    assert text.isascii()
    record = json.loads(text)
    assert record.pop("texts") == TEXTS
    assert Attribution.model_validate(record) == told


def test_a_hint_without_a_text_is_shown_by_its_id() -> None:
    out = io.StringIO()
    print_attribution(_attribution(), {}, Console(file=out, width=80))
    assert any(line.rstrip().endswith(" a") for line in out.getvalue().splitlines())
    assert json.loads(attribution_json(_attribution(), {}))["texts"] == {}


def test_what_rounds_to_nothing_has_no_minus() -> None:
    text = _printed(attribute(["a"] * 9, np.full(9, -0.0001), seed=0))
    assert "+0.000 [+0.000, +0.000]" in text
    assert "-0.000" not in text


def test_nothing_chosen_is_told_without_fuss() -> None:
    text = _printed(attribute([None, None], np.zeros(2), seed=0))
    assert "Gain over no hint +0.000 [+0.000, +0.000] on 2 sessions, 95 % intervals." in text
    assert "(no hint)" in text
