"""What a person reads about a knowledge base, within 80 columns.

Whatever comes from a hint is printed as ``Text``, never as markup, and provenance, which is kept
as it came, is cleaned first: both are foreign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrec.app.reports.run_report import narrow_table
from agentrec.catalog import clean_text
from agentrec.hints import Hint, HintEvidence, Revision, ScoredHint
from agentrec.stores.hints.differences import Differences, HintChange

SHORT_ID = 8
_LONGEST_VALUE = 400


def short_ids(hints: Sequence[Hint]) -> dict[str, str]:
    """For each id the beginning that tells it from all others here, of one length for all."""
    ids = {hint.hint_id for hint in hints}
    length = SHORT_ID
    while len({hint_id[:length] for hint_id in ids}) < len(ids):
        length += 1
    return {hint_id: hint_id[:length] for hint_id in ids}


def print_hints(hints: Sequence[Hint], shown_ids: Mapping[str, str], console: Console) -> None:
    """Print hints, a row each."""
    title = f"{len(hints)} hints" if len(hints) != 1 else "1 hint"
    console.print(_hint_table(title, hints, shown_ids))


def print_found(
    found: Sequence[ScoredHint], shown_ids: Mapping[str, str], console: Console
) -> None:
    """Print what a search found, most similar first."""
    alike = [f"{scored.similarity:.2f}" for scored in found]
    console.print(_hint_table("Nearest first", [each.hint for each in found], shown_ids, alike))


def print_hint(
    hint: Hint, versions: Sequence[Hint], revisions: Sequence[Revision], console: Console
) -> None:
    """Print all that is known of one hint."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, value in _facts(hint).items():
        if value:
            grid.add_row(name, Text(clean_text(value, _LONGEST_VALUE)))
    console.print(grid)
    if len(versions) > 1:
        console.print()
        print_hints(versions, short_ids(versions), console)
    if revisions:
        console.print()
        print_revisions(revisions, console)


def print_revisions(revisions: Sequence[Revision], console: Console) -> None:
    """Print changes, the first one first."""
    table = narrow_table("Revisions")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("hints", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for revision in revisions:
        # Hints from before there were revisions: nobody noted when.
        known = revision.at.timestamp() > 0
        when = revision.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if known else ""
        note = Text(clean_text(revision.note, _LONGEST_VALUE))
        table.add_row(str(revision.number), when, str(len(revision.hint_ids)), note)
    console.print(table)


def print_differences(found: Differences, console: Console) -> None:
    """Print what was added, retired and changed, or that nothing was."""
    if not found:
        console.print("No difference.")
        return
    now = [*found.added, *found.missing]
    now += [change.after for change in (*found.retired, *found.changed)]
    shown_ids = short_ids(now)
    table = narrow_table(
        f"{len(found.added)} added, {len(found.retired)} retired, {len(found.changed)} changed"
        + (f", {len(found.missing)} missing" if found.missing else "")
    )
    table.add_column("", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("what", overflow="fold", max_width=24)
    table.add_column("hint", overflow="fold")
    for hint in found.added:
        table.add_row("+", shown_ids[hint.hint_id], hint.state, Text(hint.text))
    for sign, changes in (("-", found.retired), ("~", found.changed)):
        for change in changes:
            hint = change.after
            table.add_row(sign, shown_ids[hint.hint_id], _what(change), Text(hint.text))
    for hint in found.missing:
        table.add_row("?", shown_ids[hint.hint_id], "not there", Text(hint.text))
    console.print(table)


def _hint_table(
    title: str,
    hints: Sequence[Hint],
    shown_ids: Mapping[str, str],
    alike: Sequence[str] | None = None,
) -> Table:
    table = narrow_table(title)
    if alike is not None:
        table.add_column("alike", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("state", no_wrap=True)
    # Hints that people wrote were tried on nothing: the room goes to their texts.
    tried = any(hint.evidence is not None for hint in hints)
    if tried:
        table.add_column("gain (low)", justify="right", no_wrap=True)
        table.add_column("w/t/l", justify="right", no_wrap=True)
    table.add_column("hint", overflow="fold")
    for place, hint in enumerate(hints):
        cells = [] if alike is None else [alike[place]]
        cells += [shown_ids.get(hint.hint_id, hint.hint_id), hint.state]
        cells += _measured(hint.evidence) if tried else ()
        # Text, not markup: a hint is foreign text.
        table.add_row(*cells, Text(hint.text))
    return table


def _measured(evidence: HintEvidence | None) -> tuple[str, str]:
    if evidence is None:
        return "", ""
    gain = f"{evidence.mean_gain:+.3f} ({evidence.low:+.3f})"
    return gain, f"{evidence.wins}/{evidence.ties}/{evidence.losses}"


def _what(change: HintChange) -> str:
    before, after = change.before, change.after
    parts = [
        f"{before.state} -> {after.state}" if name == "state" else name.replace("_", " ")
        for name in change.fields
        # A reason goes with nearly every change and is in `show`.
        if name != "reason" or len(change.fields) == 1
    ]
    return ", ".join(parts)


def _facts(hint: Hint) -> dict[str, str]:
    facts = {
        "hint": hint.text,
        "id": hint.hint_id,
        "namespace": hint.namespace,
        "state": hint.state + (f" ({hint.reason})" if hint.reason else ""),
        "version": str(hint.version),
        "replaces": hint.replaces or "",
        "merged into": hint.merged_into or "",
    }
    if hint.evidence is not None:
        told = hint.evidence
        facts["gain"] = (
            f"{told.mean_gain:+.4f} NDCG@10 on {told.sessions} other sessions,"
            f" lower bound {told.low:+.4f}"
        )
        facts["sessions"] = f"{told.wins} better, {told.ties} the same, {told.losses} worse"
        facts["measured with"] = told.model
    if hint.provenance is not None:
        source = hint.provenance
        facts["from session"] = source.session_id
        facts["in run"] = source.run
        facts["written by"] = source.model
        # The model knew the target when it wrote the hint: not to be taken for a gain.
        facts["on itself"] = f"NDCG@10 {source.ndcg_before:.3f} -> {source.ndcg_after:.3f}"
        facts["diagnosis"] = source.diagnosis
    if hint.embedding is not None:
        facts["vector"] = f"{hint.embedding.dimension} numbers by {hint.embedding.model}"
    return facts
