"""What a person reads about hint policies: a comparison of several, and one's gain by hint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentrec.app.reports.tables import GAIN, Cell, Column, Report, Table, format_interval
from agentrec.evaluation.attribution import Attribution, HintAttribution
from agentrec.evaluation.intervals import Interval
from agentrec.evaluation.policy_comparison import PolicyComparison

_NO_HINT = "(no hint)"
_HINTS_PER_SLICE = 3
_MIN_FOR_INTERVAL = 5
"""Of fewer sessions, an interval would claim what it cannot know."""


def comparison_report(comparison: PolicyComparison, note: str = "") -> Report:
    """Report several policies on the same sessions, one row each, and a note on all numbers."""
    trained = sorted({one.seeds for one in comparison.policies if one.seeds > 1})
    seeds = " or ".join(map(str, trained)) or "several"
    return [
        Table(
            f"Hint policies on {comparison.sessions} sessions:"
            f" mean [{comparison.level * 100:g} % interval]",
            (
                Column("policy", max_length=60),
                Column("NDCG\n@10", ".3f", wide_interval=True),
                Column("over\nno hint", GAIN),
                Column("over\nbest single", GAIN),
                Column("sd", ".3f"),
                Column("given", ".0%"),
            ),
            tuple(
                (
                    one.name,
                    one.ndcg,
                    one.over_no_hint,
                    one.over_best_single,
                    one.seed_spread,
                    one.given,
                )
                for one in comparison.policies
            ),
            (
                "Intervals: paired bootstrap over sessions, for the policies as trained; each by"
                f" itself: of policies that do not differ, 1 in {round(1 / (1 - comparison.level))}"
                f" excludes 0. sd: how much the mean gain over no hint varies over {seeds} seeds,"
                " which no interval includes; empty for a policy that is the same with every seed."
                " given: share of sessions with a hint.",
                *([note] if note else []),
            ),
        )
    ]


def attribution_record(attribution: Attribution, texts: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON document of an attribution, with the texts (by id) of its hints."""
    known = {
        one.hint_id: texts[one.hint_id]
        for one in attribution.hints
        if one.hint_id is not None and one.hint_id in texts
    }
    return {**attribution.model_dump(mode="json"), "texts": known}


def attribution_report(attribution: Attribution, texts: Mapping[str, str]) -> Report:
    """Report which hints the gain of a policy comes from, and on which sessions.

    A hint whose text (by id) is missing is shown by its id.
    """
    yield (
        f"Gain over no hint {format_interval(attribution.gain, GAIN)} on {attribution.sessions}"
        f" sessions, {attribution.level * 100:g} % intervals."
    )
    yield _chosen_hints(attribution, texts)
    yield from _hints_for_everyone(attribution, texts)
    if attribution.slices:
        yield _slices(attribution, texts)


def _chosen_hints(attribution: Attribution, texts: Mapping[str, str]) -> Table:
    return Table(
        "Where each hint was chosen",
        (
            Column("times", "d"),
            Column("lift (interval)", GAIN),
            Column("w/t/l", ">"),
            Column("harm", ".0%"),
            Column("adds", GAIN),
            Column("hint"),
        ),
        tuple(
            (
                one.sessions,
                _if_enough(one.lift, one.sessions),
                f"{one.wins}/{one.ties}/{one.losses}",
                one.harm_rate,
                one.contribution,
                _text(one.hint_id, texts),
            )
            if one.hint_id is not None
            else (one.sessions, None, None, None, None, _NO_HINT)
            for one in attribution.hints
            if one.sessions
        ),
        (
            "harm: share of its sessions made worse; adds: its part of the mean gain; the parts"
            " sum to it.",
        ),
    )


def _hints_for_everyone(
    attribution: Attribution, texts: Mapping[str, str]
) -> Iterator[str | Table]:
    """What was measured of hints on all sessions; nothing if nothing was."""

    def gain(one: HintAttribution) -> float:
        return 0.0 if one.for_everyone is None else one.for_everyone.mean

    rows = [one for one in attribution.hints if one.for_everyone is not None]
    if rows:
        yield Table(
            "Had every session been given it",
            (
                Column("gain (interval)", GAIN),
                Column("times", "d"),
                Column("regret", ".3f"),
                Column("hint"),
            ),
            tuple(
                (one.for_everyone, one.sessions, one.regret, _text(one.hint_id, texts))
                for one in sorted(rows, key=gain, reverse=True)
            ),
        )
    if attribution.regret is not None:
        yield (
            f"Regret {attribution.regret:.3f} against the best measured option of each session."
            " That is the luckiest of many: no policy could have a regret of 0."
        )


def _slices(attribution: Attribution, texts: Mapping[str, str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in attribution.slices:
        p_value = "<.001" if one.p_value < 0.001 else f"{one.p_value:.3f}".removeprefix("0")
        rows.append((one.sessions, _if_enough(one.gain, one.sessions), p_value, one.name))
        rows += (
            (
                hint.sessions,
                _if_enough(hint.lift, hint.sessions),
                "",
                f"- {_text(hint.hint_id, texts)}",
            )
            for hint in one.hints[:_HINTS_PER_SLICE]
        )
    lifts = sum(hint.lift is not None for one in attribution.slices for hint in one.hints)
    return Table(
        "On which sessions",
        (
            Column("times", "d"),
            Column("gain (interval)", GAIN),
            Column("p", ">"),
            Column("sessions, and the hints given most", max_length=70),
        ),
        tuple(rows),
        (
            "p: probability that by chance alone some slice differs from all sessions as clearly,"
            f" adjusted for the number of slices. The intervals of the {lifts} hints in slices are"
            f" not adjusted: by chance, 1 in {round(1 / (1 - attribution.level))} excludes 0.",
        ),
    )


def _if_enough(interval: Interval | None, sessions: int) -> Cell:
    """The interval, or only its mean where there are too few sessions."""
    return interval if interval is None or sessions >= _MIN_FOR_INTERVAL else interval.mean


def _text(hint_id: str | None, texts: Mapping[str, str]) -> str:
    return _NO_HINT if hint_id is None else texts.get(hint_id, hint_id)
