"""What a person reads about preference pairs, and about what texts do to rankings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentrec.app.preferences.collection import Collection
from agentrec.app.preferences.reranking import NEXT, REST, TextsReport
from agentrec.app.reports.tables import GAIN, Cell, Column, Report, Table
from agentrec.stores.pairs.statistics import Distribution, PairStatistics


def collection_report(collection: Collection) -> Report:
    """Report the result of collecting."""
    yield (
        f"{collection.sessions} sessions, {collection.texts} texts written,"
        f" {collection.failures} not; {collection.pairs} pairs."
    )
    yield (
        f"A text is worth {collection.mean_value:.3f} on average, a session's best"
        f" {collection.mean_best:.3f}, its worst {collection.mean_worst:.3f}."
    )
    yield from _reasons(collection.refused)


def statistics_report(statistics: PairStatistics) -> Report:
    """Report what a collection of pairs is like."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in statistics.kinds.items())
    users = f", {statistics.users} users" if statistics.users else ""
    yield f"{statistics.pairs} pairs ({kinds}) of {statistics.sessions} sessions{users}."
    yield Table(
        "Reward pairs",
        (
            Column("", "<"),
            *(Column(name, ">") for name in ("mean", "least", "median", "most")),
        ),
        (
            ("worth, chosen", *_numbers(statistics.chosen_value)),
            ("worth, rejected", *_numbers(statistics.rejected_value)),
            ("gap", *_numbers(statistics.gap)),
            ("gap in margins (nats)", *_numbers(statistics.margin_gap)),
            ("characters, chosen", *_numbers(statistics.chosen_length, ".0f")),
            ("characters, rejected", *_numbers(statistics.rejected_length, ".0f")),
            ("characters, prompt", *_numbers(statistics.prompt_length, ".0f")),
        ),
    )
    yield (
        f"{statistics.ties} pairs have no gap and differ by their margins alone; the chosen text"
        f" is the longer one in {statistics.chosen_longer:.0%}."
    )
    yield from _reasons(statistics.refusals)
    for origin in ("model", "reward_model"):
        for name, count in statistics.origins.get(origin, {}).items():
            yield f"{origin.replace('_', ' ')}: {name}, {count}"


def text_comparison_report(report: TextsReport, data: str) -> Report:
    """Report what texts do to rankings of the sessions of some data."""
    for scope, metrics in (("the next item", NEXT), ("all that came after", REST)):
        for heading, rows, spec in (
            ("method", report.methods, ".3f"),
            ("paired difference", report.differences, GAIN),
        ):
            yield Table(
                f"{data}, {len(report.sessions)} sessions, {scope}",
                (
                    Column(heading),
                    *(Column(metric.removeprefix("rest ").upper(), spec) for metric in metrics),
                ),
                tuple((name, *(row[metric] for metric in metrics)) for name, row in rows.items()),
            )
    for name, share in report.own_preferred.items():
        yield (
            f"Texts of {name}: the reward model prefers a session's own text to another's in"
            f" {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of sessions."
        )
    yield (
        "told: the recommender receives the session's own text; reranked: the run's model ranks"
        " with it; foreign: another session's text; llm: no text; tuned: texts of the other"
        " model, which ranks too where it says self-ranked. The next item: texts are written from"
        " the whole history. All that came after: they are written from its first part, and the"
        " rest of it and the next item are to be found. In brackets: 95 % intervals over sessions."
    )


def _reasons(refused: Mapping[str, int]) -> Iterator[str]:
    if refused:
        reasons = "; ".join(f"{count} {reason}" for reason, count in refused.items())
        yield f"Sessions without a pair: {reasons}."


def _numbers(one: Distribution, spec: str = ".3f") -> list[Cell]:
    if not one.count:
        return [""] * 4
    median = one.quantiles[len(one.quantiles) // 2]
    return [format(each, spec) for each in (one.mean, one.quantiles[0], median, one.quantiles[-1])]
