"""What a person reads about preference pairs, and about what texts do, within 80 columns."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from agentrec.app.preferences.collection import Collection
from agentrec.app.preferences.reranking import NEXT, REST, TextsReport
from agentrec.app.reports.run_report import new_table
from agentrec.catalog import clean_text
from agentrec.evaluation.intervals import Interval
from agentrec.stores.pairs.statistics import Distribution, PairStatistics

_LONGEST_NAME = 60


def print_collection(told: Collection, console: Console) -> None:
    """Print what came of collecting."""
    for line in (
        f"{told.sessions} sessions, {told.texts} texts written, {told.failures} not;"
        f" {told.pairs} pairs.",
        f"A text is worth {told.mean_value:.3f} on average, a session's best {told.mean_best:.3f},"
        f" its worst {told.mean_worst:.3f}.",
        *_reasons(told.refused),
    ):
        _say(line, console)


def print_statistics(told: PairStatistics, console: Console) -> None:
    """Print what a collection of pairs is like."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in told.kinds.items())
    users = f", {told.users} users" if told.users else ""
    _say(f"{told.pairs} pairs ({kinds}) of {told.sessions} sessions{users}.", console)
    table = new_table("Reward pairs")
    table.add_column("", no_wrap=True)
    for name in ("mean", "least", "median", "most"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one, digits in (
        ("worth, chosen", told.chosen_value, 3),
        ("worth, rejected", told.rejected_value, 3),
        ("gap", told.gap, 3),
        ("gap in margins (nats)", told.margin_gap, 3),
        ("characters, chosen", told.chosen_length, 0),
        ("characters, rejected", told.rejected_length, 0),
        ("characters, prompt", told.prompt_length, 0),
    ):
        table.add_row(name, *_numbers(one, digits))
    console.print(table)
    _say(
        f"{told.ties} pairs have no gap and differ by their margins alone; the chosen text is the"
        f" longer one in {told.chosen_longer:.0%}.",
        console,
    )
    for line in _reasons(told.refusals):
        _say(line, console)
    for origin in ("model", "reward_model"):
        for name, count in told.origins.get(origin, {}).items():
            _say(f"{origin.replace('_', ' ')}: {clean_text(name, _LONGEST_NAME)}, {count}", console)


def print_texts_report(report: TextsReport, data: str, console: Console) -> None:
    """Print what texts do to rankings of sessions."""
    for scope, metrics in (("the next item", NEXT), ("all that came after", REST)):
        for heading, rows, sign in (
            ("method", report.methods, ""),
            ("paired difference", report.differences, "+"),
        ):
            table = new_table(f"{data}, {len(report.sessions)} sessions, {scope}")
            table.add_column(heading, overflow="fold", max_width=34)
            for metric in metrics:
                table.add_column(metric.removeprefix("rest ").upper(), no_wrap=True)
            for name, row in rows.items():
                table.add_row(Text(name), *(_cell(row[metric], sign) for metric in metrics))
            console.print(table)
    for name, share in report.own_preferred.items():
        _say(
            f"Texts of {name}: the reward model prefers a session's own text to another's in"
            f" {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of sessions.",
            console,
        )
    _say(
        "told: the recommender is told the session's own text; reranked: the run's model ranks,"
        " given it; foreign: another session's text; llm: no text; tuned: texts of the other"
        " model, which ranks too where it says self-ranked. The next item: texts are"
        " written from the whole history. All that came after: they are written from its first"
        " part, and the rest of it and the next item are to be found. In brackets: 95 % intervals"
        " over sessions.",
        console,
    )


def _reasons(refused: Mapping[str, int]) -> list[str]:
    if not refused:
        return []
    told = "; ".join(f"{count} {reason}" for reason, count in refused.items())
    return [f"Sessions without a pair: {told}."]


def _numbers(one: Distribution, digits: int) -> list[str]:
    if not one.count:
        return [""] * 4
    middle = one.quantiles[len(one.quantiles) // 2]
    values = (one.mean, one.quantiles[0], middle, one.quantiles[-1])
    return [f"{value:.{digits}f}" for value in values]


def _cell(value: Interval, sign: str) -> str:
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"


def _say(line: str, console: Console) -> None:
    # As Text, and not as a string, lest ":name:" become a picture.
    console.print(Text(line))
