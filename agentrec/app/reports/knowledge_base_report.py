"""How people read the results of commands about a knowledge base, within 80 columns.

Whatever comes from a hint is printed as ``Text``, never as markup, and provenance, which is stored
as it came, is cleaned first: both are untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrec.app.knowledge_base.results import (
    AddedHint,
    ChangedHints,
    ExportedFile,
    FoundHints,
    HintDetails,
    HintList,
    KnowledgeBaseResult,
    ReembeddedHints,
    RevisionList,
)
from agentrec.app.reports.run_report import narrow_table
from agentrec.catalog import clean_text
from agentrec.hints import Hint, HintEvidence, Revision
from agentrec.stores.hints.differences import Differences, HintChange
from agentrec.stores.hints.exchange import ImportReport

_SHORT_ID = 8
_LONGEST_VALUE = 400


def print_result(result: KnowledgeBaseResult, console: Console) -> None:
    """Print what a command found or did."""
    location, ids = result.location, _short_ids(result.hints)
    match result.content:
        case HintList(hints) if hints:
            console.print(_hint_table(hints, ids))
        case HintList() if result.hints:
            total = len(result.hints)
            _print_line(
                f"{location} has no hints in this state; --state all shows {total}.", console
            )
        case HintList():
            _print_line(f"{location} has no hints yet.", console)
        case HintDetails() as details:
            _print_details(details, console)
        case FoundHints(found) if found:
            similarities = [f"{scored.similarity:.2f}" for scored in found]
            console.print(_hint_table([scored.hint for scored in found], ids, similarities))
        case FoundHints():
            _print_line(f"{location} has no such hints.", console)
        case RevisionList(revisions) if revisions:
            console.print(_revision_table(revisions))
        case RevisionList():
            _print_line(f"{location} has no revisions yet.", console)
        case Differences() as differences:
            console.print(_difference_table(differences) if differences else "No difference.")
        case ExportedFile(file, count):
            _print_line(f"{count} hints written to {file}", console)
        case AddedHint(added, hint):
            if not added:
                _print_line("The knowledge base has this hint already; nothing changed.", console)
            console.print(_hint_table([hint], ids))
        case ChangedHints(revision, hints):
            done = "Nothing to change." if revision is None else f"Revision {revision}."
            _print_line(done, console)
            if hints:
                console.print(_hint_table(hints, ids))
        case ImportReport(added=new, skipped=known):
            _print_line(f"{len(new)} hints added, {len(known)} known already", console)
        case ReembeddedHints(0, embedding):
            _print_line(f"All vectors are by {embedding.model} already.", console)
        case ReembeddedHints(count, embedding):
            size = f"{embedding.dimension} dimensions"
            _print_line(f"{count} hints re-embedded with {embedding.model} ({size})", console)


def _print_line(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _short_ids(hints: Sequence[Hint]) -> dict[str, str]:
    """Shorten all ids to one length at which no two are equal."""
    ids = {hint.hint_id for hint in hints}
    length = _SHORT_ID
    while len({hint_id[:length] for hint_id in ids}) < len(ids):
        length += 1
    return {hint_id: hint_id[:length] for hint_id in ids}


def _print_details(details: HintDetails, console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, value in _facts(details.hint).items():
        if value:
            grid.add_row(name, Text(clean_text(value, _LONGEST_VALUE)))
    console.print(grid)
    if len(details.lineage) > 1:
        console.print()
        console.print(_hint_table(details.lineage, _short_ids(details.lineage)))
    if details.revisions:
        console.print()
        console.print(_revision_table(details.revisions))


def _revision_table(revisions: Sequence[Revision]) -> Table:
    table = narrow_table("Revisions")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("hints", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for revision in revisions:
        when = revision.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        note = Text(clean_text(revision.note, _LONGEST_VALUE))
        table.add_row(str(revision.number), when, str(len(revision.hint_ids)), note)
    return table


def _difference_table(found: Differences) -> Table:
    now = [*found.added, *found.missing]
    now += [change.after for change in (*found.retired, *found.changed)]
    ids = _short_ids(now)
    missing = f", {len(found.missing)} missing" if found.missing else ""
    table = narrow_table(
        f"{len(found.added)} added, {len(found.retired)} retired,"
        f" {len(found.changed)} changed{missing}"
    )
    table.add_column("", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("what", overflow="fold", max_width=24)
    table.add_column("hint", overflow="fold")
    for hint in found.added:
        table.add_row("+", ids[hint.hint_id], hint.state, Text(hint.text))
    for sign, changes in (("-", found.retired), ("~", found.changed)):
        for change in changes:
            hint = change.after
            table.add_row(sign, ids[hint.hint_id], _what_changed(change), Text(hint.text))
    for hint in found.missing:
        table.add_row("?", ids[hint.hint_id], "missing", Text(hint.text))
    return table


def _hint_table(
    hints: Sequence[Hint], ids: Mapping[str, str], similarities: Sequence[str] | None = None
) -> Table:
    title = "1 hint" if len(hints) == 1 else f"{len(hints)} hints"
    table = narrow_table(title if similarities is None else "Most similar first")
    if similarities is not None:
        table.add_column("cosine", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("state", no_wrap=True)
    # Hints that people wrote have no evidence: their texts get the room.
    measured = any(hint.evidence is not None for hint in hints)
    if measured:
        table.add_column("gain (low)", justify="right", no_wrap=True)
        table.add_column("w/t/l", justify="right", no_wrap=True)
    table.add_column("hint", overflow="fold")
    for index, hint in enumerate(hints):
        cells = [] if similarities is None else [similarities[index]]
        cells += [ids.get(hint.hint_id, hint.hint_id), hint.state]
        cells += _evidence(hint.evidence) if measured else ()
        table.add_row(*cells, Text(hint.text))
    return table


def _evidence(evidence: HintEvidence | None) -> tuple[str, str]:
    if evidence is None:
        return "", ""
    gain = f"{evidence.mean_gain:+.3f} ({evidence.low:+.3f})"
    return gain, f"{evidence.wins}/{evidence.ties}/{evidence.losses}"


def _what_changed(change: HintChange) -> str:
    before, after = change.before, change.after
    return ", ".join(
        f"{before.state} -> {after.state}" if name == "state" else name.replace("_", " ")
        for name in change.fields
        # Nearly every change has a reason; `show` prints it.
        if name != "reason" or len(change.fields) == 1
    )


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
        evidence = hint.evidence
        facts["gain"] = (
            f"{evidence.mean_gain:+.4f} NDCG@10 on {evidence.sessions} other sessions,"
            f" lower bound {evidence.low:+.4f}"
        )
        facts["sessions"] = (
            f"{evidence.wins} better, {evidence.ties} the same, {evidence.losses} worse"
        )
        facts["measured with"] = evidence.model
    if hint.provenance is not None:
        source = hint.provenance
        facts["from session"] = source.session_id
        facts["in run"] = source.run
        facts["written by"] = source.model
        # The model saw the target when it wrote the hint, so this is no gain.
        facts["on itself"] = f"NDCG@10 {source.ndcg_before:.3f} -> {source.ndcg_after:.3f}"
        facts["diagnosis"] = source.diagnosis
    if hint.embedding is not None:
        facts["vector"] = f"{hint.embedding.dimension} numbers by {hint.embedding.model}"
    return facts
