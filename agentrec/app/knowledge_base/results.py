"""What the commands about a knowledge base find or do, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from pydantic import BaseModel

from agentrec.hints import Hint, HintEmbedding, Revision, ScoredHint
from agentrec.stores.hints.differences import Differences
from agentrec.stores.hints.exchange import ImportReport, as_record


@dataclass(frozen=True)
class HintList:
    """Hints, in the order of adding."""

    hints: Sequence[Hint]


@dataclass(frozen=True)
class HintDetails:
    """One hint, its other versions (itself included), and the revisions that touched it."""

    hint: Hint
    lineage: Sequence[Hint]
    revisions: Sequence[Revision]


@dataclass(frozen=True)
class FoundHints:
    """What a search found, most similar first."""

    hints: Sequence[ScoredHint]


@dataclass(frozen=True)
class RevisionList:
    """Revisions, the first one first."""

    revisions: Sequence[Revision]


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written, and the number of hints in it."""

    file: Path
    hints: int


@dataclass(frozen=True)
class AddedHint:
    """A hint as it is stored, and whether it was new."""

    added: bool
    hint: Hint


@dataclass(frozen=True)
class ChangedHints:
    """The hints that a change was about, and its revision; ``None`` if nothing had to change."""

    revision: int | None
    hints: Sequence[Hint]


@dataclass(frozen=True)
class ReembeddedHints:
    """How many hints got new vectors, and by which model."""

    hints: int
    embedding: HintEmbedding


Content = (
    HintList
    | HintDetails
    | FoundHints
    | RevisionList
    | Differences
    | ExportedFile
    | AddedHint
    | ChangedHints
    | ImportReport
    | ReembeddedHints
)


@dataclass(frozen=True)
class KnowledgeBaseResult:
    """The result of a command.

    Attributes:
        content: What was found or done; the JSON document holds nothing else.
        location: The knowledge base, as people read it.
        hints: All hints of the knowledge base: tables shorten ids so that they stay distinct.
    """

    content: Content
    location: str
    hints: Sequence[Hint] = ()

    def as_json(self) -> object:
        """Return the content as JSON values."""
        return _as_json(self.content)


def _as_json(value: object) -> object:
    if isinstance(value, Hint):
        return as_record(value)
    if isinstance(value, ScoredHint):
        return {"similarity": value.similarity, **as_record(value.hint)}
    if isinstance(value, Revision):
        return value.model_dump(mode="json")
    if isinstance(value, BaseModel):
        return {name: _as_json(each) for name, each in value}
    if is_dataclass(value):
        return {each.name: _as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return str(value) if isinstance(value, Path) else value
