"""What a person reads about where a policy's gain comes from, within 80 columns.

Hints and names of slices are foreign: they are cleaned and printed as ``Text``, never as markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrec.app.reports.run_report import narrow_table
from agentrec.catalog import clean_text
from agentrec.evaluation.attribution import Attribution, HintAttribution, SliceAttribution
from agentrec.evaluation.intervals import Interval
from agentrec.hints import MAX_HINT_LENGTH

_LONGEST_NAME = 60
# Whole they stand in the tables above.
_LONGEST_IN_SLICE = 70
_NONE = "(no hint)"
_RESIDUE = 5e-4
# Of fewer sessions, an interval would claim what it cannot know.
_FEWEST_FOR_INTERVAL = 5


def attribution_json(attribution: Attribution, texts: Mapping[str, str]) -> str:
    """The attribution as one JSON object, in ASCII alone so that no hint can steer a terminal.

    Args:
        attribution: What to tell.
        texts: Hints by their ids; those of the attribution come along as ``texts``.
    """
    named = [one.hint_id for one in attribution.hints if one.hint_id is not None]
    known = {hint_id: texts[hint_id] for hint_id in named if hint_id in texts}
    return json.dumps({**attribution.model_dump(mode="json"), "texts": known})


def print_attribution(
    attribution: Attribution,
    texts: Mapping[str, str],
    console: Console,
    *,
    most_in_slice: int = 3,
) -> None:
    """Print which hints the gain comes from, and for which sessions.

    Args:
        attribution: What to tell.
        texts: Hints by their ids; one that is missing is shown by its id.
        console: Where.
        most_in_slice: Hints shown of a slice, those most often chosen, at least 0.
    """
    _say(
        f"Gain over no hint {_told(attribution.gain)} on {attribution.sessions} sessions, "
        f"{attribution.level * 100:g} % intervals.",
        console,
    )
    chosen = [one for one in attribution.hints if one.sessions]
    _print_chosen(chosen, texts, console)
    _print_for_everyone(attribution, texts, console)
    if attribution.slices:
        _print_slices(attribution, texts, console, most_in_slice)


def _print_chosen(
    chosen: list[HintAttribution], texts: Mapping[str, str], console: Console
) -> None:
    table = narrow_table("Where each hint was chosen")
    for name in ("times", "lift (interval)", "w/t/l", "harm", "adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("hint", overflow="fold")
    for one in chosen:
        harm = "" if one.hint_id is None or one.harm_rate is None else f"{one.harm_rate:.0%}"
        counts = "" if one.hint_id is None else f"{one.wins}/{one.ties}/{one.losses}"
        table.add_row(
            str(one.sessions),
            _lift(one.lift, one.sessions),
            counts,
            harm,
            "" if one.hint_id is None else _signed(one.contribution),
            _hint(one.hint_id, texts),
        )
    console.print(table)
    _say(
        "harm: share of its sessions made worse; adds: its part of the mean gain, all of which "
        "add up to it.",
        console,
    )


def _print_for_everyone(
    attribution: Attribution, texts: Mapping[str, str], console: Console
) -> None:
    """What was measured of hints beyond where they were chosen; nothing if nothing was."""
    rows = [one for one in attribution.hints if one.for_everyone is not None]
    if rows:
        console.print()
        table = narrow_table("Had every session been given it")
        table.add_column("gain (interval)", justify="right", no_wrap=True)
        table.add_column("times", justify="right", no_wrap=True)
        table.add_column("regret", justify="right", no_wrap=True)
        table.add_column("hint", overflow="fold")
        for one in sorted(rows, key=_mean_for_everyone, reverse=True):
            table.add_row(
                _told(one.for_everyone),
                str(one.sessions),
                "" if one.regret is None else f"{one.regret:.3f}",
                _hint(one.hint_id, texts),
            )
        console.print(table)
    if attribution.regret is not None:
        _say(
            f"Regret {attribution.regret:.3f} against the best measured option of each session. "
            "That is the luckiest of many: no policy could have a regret of 0.",
            console,
        )


def _print_slices(
    attribution: Attribution, texts: Mapping[str, str], console: Console, most: int
) -> None:
    console.print()
    table = narrow_table("For which sessions")
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("gain (interval)", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("sessions, and hints given most", overflow="fold")
    for one in attribution.slices:
        _add_slice(table, one, texts, most)
    console.print(table)
    _say(
        "p: how often luck alone would make some slice differ from all sessions as clearly, all "
        f"slices allowed for. The intervals of the {attribution.slice_lifts} hints in slices are "
        f"not: by luck alone, 1 of {round(1 / (1 - attribution.level))} leaves 0 outside.",
        console,
    )


def _add_slice(table: Table, one: SliceAttribution, texts: Mapping[str, str], most: int) -> None:
    p_value = "<.001" if one.p_value < 0.001 else f"{one.p_value:.3f}".removeprefix("0")
    table.add_row(
        str(one.sessions),
        _lift(one.gain, one.sessions),
        p_value,
        Text(clean_text(one.name, _LONGEST_NAME)),
        style="bold",
    )
    for hint in one.hints[:most]:
        text = Text("  ") + _hint(hint.hint_id, texts, _LONGEST_IN_SLICE)
        table.add_row(str(hint.sessions), _lift(hint.lift, hint.sessions), "", text)


def _mean_for_everyone(one: HintAttribution) -> float:
    return 0.0 if one.for_everyone is None else one.for_everyone.mean


def _hint(hint_id: str | None, texts: Mapping[str, str], longest: int = MAX_HINT_LENGTH) -> Text:
    if hint_id is None:
        return Text(_NONE, style="dim")
    return Text(clean_text(texts.get(hint_id, hint_id), longest))


def _lift(interval: Interval | None, sessions: int) -> str:
    if interval is None:
        return ""
    return _told(interval) if sessions >= _FEWEST_FOR_INTERVAL else _signed(interval.mean)


def _told(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{_signed(interval.mean)} [{_signed(interval.low)}, {_signed(interval.high)}]"


def _signed(value: float) -> str:
    """Three digits with a sign, never ``-0.000``."""
    return f"{0.0 if abs(value) < _RESIDUE else value:+.3f}"


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False)
