from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agentrec.errors import StoreError
from agentrec.hints import STATES, Hint, HintEvidence
from agentrec.stores.hints.differences import (
    Differences,
    between_revisions,
    differences,
    since_export,
)
from agentrec.stores.hints.exchange import export_hints
from agentrec.stores.hints.lifecycle import admit, retire
from agentrec.stores.hints.logged_store import InMemoryHintStore

A, B, C = (Hint(text=text, state="nominated") for text in ("a", "b", "c"))


@pytest.fixture
async def store() -> InMemoryHintStore:
    """Revisions: a and b are added, a is admitted, c is added, b is retired."""
    made = InMemoryHintStore(2)
    await made.add_many([A, B], [[1, 0], [0, 1]])
    await admit(made, [A.hint_id], "good")
    await made.add(C, [1, 1])
    await retire(made, [B.hint_id], "bad")
    return made


def texts(found: Differences) -> dict[str, list[str]]:
    return {
        "added": [hint.text for hint in found.added],
        "retired": [change.after.text for change in found.retired],
        "changed": [change.after.text for change in found.changed],
        "missing": [hint.text for hint in found.missing],
    }


async def test_every_hint_is_in_the_list_it_belongs_to(store: InMemoryHintStore) -> None:
    found = await between_revisions(store, 1)
    assert texts(found) == {"added": ["c"], "retired": ["b"], "changed": ["a"], "missing": []}
    assert found.changed[0].fields == ("state", "reason")
    assert (found.changed[0].before.state, found.changed[0].after.state) == (
        "nominated",
        "admitted",
    )
    assert texts(await between_revisions(store, 2, 3))["added"] == ["c"]
    assert texts(await between_revisions(store, 2, 3))["retired"] == []


async def test_looking_back_turns_it_round(store: InMemoryHintStore) -> None:
    back = texts(await between_revisions(store, 4, 1))
    assert back == {"added": [], "retired": [], "changed": ["a", "b"], "missing": ["c"]}


async def test_nothing_is_different_after_a_change_and_its_roll_back(
    store: InMemoryHintStore,
) -> None:
    assert not await between_revisions(store, 4, 4)
    await retire(store, [A.hint_id], "a mistake")
    assert await between_revisions(store, 4)
    await store.roll_back(4)
    assert not await between_revisions(store, 4)
    versions = {hint.text: hint.version for hint in await store.all(STATES)}
    assert versions["a"] == 4


async def test_an_unknown_revision_is_refused(store: InMemoryHintStore) -> None:
    with pytest.raises(StoreError, match="revision 9"):
        await between_revisions(store, 9)
    with pytest.raises(StoreError, match="revision 9"):
        await between_revisions(store, 0, 9)


async def test_a_file_is_what_was_there_before(store: InMemoryHintStore, tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    await export_hints(store, file)
    assert not await since_export(store, file)
    await admit(store, [C.hint_id], "")
    assert texts(await since_export(store, file))["changed"] == ["c"]
    await export_hints(store, file, ["retired"])
    assert texts(await since_export(store, file))["added"] == ["a", "c"]


def test_other_evidence_is_a_change_and_another_version_is_none() -> None:
    measured = A.model_copy(update={"evidence": HintEvidence.of({"s": 0.1})})
    [change] = differences([A], [measured]).changed
    assert change.fields == ("evidence",)
    assert not differences([A], [A.model_copy(update={"version": 9})])


def test_what_was_found_does_not_change() -> None:
    with pytest.raises(ValidationError):
        differences([A], [B]).added = ()  # type: ignore[misc]
