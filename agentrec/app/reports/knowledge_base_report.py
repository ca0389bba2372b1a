"""How people read the results of commands about a knowledge base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import zip_longest

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
from agentrec.app.reports.tables import GAIN, Cell, Column, Report, Table
from agentrec.hints import Hint, Revision
from agentrec.stores.hints.differences import Differences, HintChange
from agentrec.stores.hints.exchange import ImportReport

_SHORT_ID = 8


def knowledge_base_report(result: KnowledgeBaseResult) -> Report:
    """Report what a command found or did."""
    location, ids = result.location, _short_ids(result.hints)
    match result.content:
        case HintList(hints) if hints:
            yield _hint_table(hints, ids)
        case HintList() if result.hints:
            total = len(result.hints)
            yield f"{location} has no hints in this state; --state all shows {total}."
        case HintList():
            yield f"{location} has no hints yet."
        case HintDetails(hint, lineage, revisions):
            yield _facts(hint)
            if len(lineage) > 1:
                yield _hint_table(lineage, _short_ids(lineage))
            if revisions:
                yield _revision_table(revisions)
        case FoundHints(found) if found:
            similarities = [scored.similarity for scored in found]
            yield _hint_table([scored.hint for scored in found], ids, similarities)
        case FoundHints():
            yield f"{location} has no such hints."
        case RevisionList(revisions) if revisions:
            yield _revision_table(revisions)
        case RevisionList():
            yield f"{location} has no revisions yet."
        case Differences() as differences:
            yield _difference_table(differences) if differences else "No difference."
        case ExportedFile(file, count):
            yield f"{count} hints written to {file}"
        case AddedHint(added, hint):
            if not added:
                yield "The knowledge base has this hint already; nothing changed."
            yield _hint_table([hint], ids)
        case ChangedHints(revision, hints):
            yield "Nothing to change." if revision is None else f"Revision {revision}."
            if hints:
                yield _hint_table(hints, ids)
        case ImportReport(added=new, skipped=known):
            yield f"{len(new)} hints added, {len(known)} known already"
        case ReembeddedHints(0, embedding):
            yield f"All vectors are by {embedding.model} already."
        case ReembeddedHints(count, embedding):
            size = f"{embedding.dimension} dimensions"
            yield f"{count} hints re-embedded with {embedding.model} ({size})"


def _short_ids(hints: Sequence[Hint]) -> dict[str, str]:
    """Shorten all ids to one length at which no two are equal."""
    ids = {hint.hint_id for hint in hints}
    length = _SHORT_ID
    while len({hint_id[:length] for hint_id in ids}) < len(ids):
        length += 1
    return {hint_id: hint_id[:length] for hint_id in ids}


def _revision_table(revisions: Sequence[Revision]) -> Table:
    return Table(
        "Revisions",
        (Column("", "d"), Column("when (UTC)", "<"), Column("hints", "d"), Column("what")),
        tuple(
            (
                revision.number,
                revision.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
                len(revision.hint_ids),
                revision.note,
            )
            for revision in revisions
        ),
    )


def _difference_table(found: Differences) -> Table:
    rows = [
        *(("+", hint, hint.state) for hint in found.added),
        *(("-", change.after, _changed(change)) for change in found.retired),
        *(("~", change.after, _changed(change)) for change in found.changed),
        *(("?", hint, "missing") for hint in found.missing),
    ]
    ids = _short_ids([hint for _, hint, _ in rows])
    missing = f", {len(found.missing)} missing" if found.missing else ""
    return Table(
        f"{len(found.added)} added, {len(found.retired)} retired,"
        f" {len(found.changed)} changed{missing}",
        (Column("", "<"), Column("id", "<"), Column("what"), Column("hint")),
        tuple((sign, ids[hint.hint_id], what, hint.text) for sign, hint, what in rows),
    )


def _changed(change: HintChange) -> str:
    before, after = change.before, change.after
    return ", ".join(
        f"{before.state} -> {after.state}" if name == "state" else name.replace("_", " ")
        for name in change.fields
        # Nearly every change has a reason; `show` prints it.
        if name != "reason" or len(change.fields) == 1
    )


def _hint_table(
    hints: Sequence[Hint], ids: Mapping[str, str], similarities: Sequence[float] = ()
) -> Table:
    title = "1 hint" if len(hints) == 1 else f"{len(hints)} hints"

    def evidence(hint: Hint) -> tuple[Cell, Cell]:
        if (found := hint.evidence) is None:
            return None, None
        gain = f"{found.mean_gain:{GAIN}} ({found.low:{GAIN}})"
        return gain, f"{found.wins}/{found.ties}/{found.losses}"

    return Table(
        "Most similar first" if similarities else title,
        (
            Column("cosine", "z.2f"),
            Column("id", "<"),
            Column("state", "<"),
            Column("gain (low)", ">"),
            Column("w/t/l", ">"),
            Column("hint"),
        ),
        tuple(
            (
                similarity,
                ids.get(hint.hint_id, hint.hint_id),
                hint.state,
                *evidence(hint),
                hint.text,
            )
            for hint, similarity in zip_longest(hints, similarities)
        ),
    )


def _facts(hint: Hint) -> Table:
    facts = {
        "hint": hint.text,
        "id": hint.hint_id,
        "namespace": hint.namespace,
        "state": hint.state + (f" ({hint.reason})" if hint.reason else ""),
        "version": str(hint.version),
        "replaces": hint.replaces,
        "merged into": hint.merged_into,
    }
    if evidence := hint.evidence:
        facts |= {
            "gain": f"{evidence.mean_gain:+.4f} NDCG@10 on {evidence.sessions} other sessions,"
            f" lower bound {evidence.low:+.4f}",
            "sessions": f"{evidence.wins} better, {evidence.ties} the same,"
            f" {evidence.losses} worse",
            "measured with": evidence.model,
        }
    if source := hint.provenance:
        facts |= {
            "from session": source.session_id,
            "in run": source.run,
            "written by": source.model,
            # The model saw the target when it wrote the hint, so this is no gain.
            "on itself": f"NDCG@10 {source.ndcg_before:.3f} -> {source.ndcg_after:.3f}",
            "diagnosis": source.diagnosis,
        }
    if hint.embedding is not None:
        facts["vector"] = f"{hint.embedding.dimension} numbers by {hint.embedding.model}"
    return Table(
        "", (Column("", "<"), Column("")), tuple(fact for fact in facts.items() if fact[1])
    )
