from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintEvidence, HintProvenance
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.stores.hints import exchange as exchange_file
from agentrec.stores.hints.exchange import ImportReport, export_hints, import_hints, read_hints
from agentrec.stores.hints.lifecycle import edit, merge
from agentrec.stores.hints.logged_store import InMemoryHintStore

EMBEDDINGS = HashedWordEmbeddings(16)
embed = EMBEDDINGS.aembed_documents
EVIDENCE = {"sessions": 4, "mean_gain": 0.1, "low": 0.02, "wins": 2, "losses": 1}


def empty(namespace: str = "") -> InMemoryHintStore:
    return InMemoryHintStore(16, namespace=namespace, embedding_model="hashed")


@pytest.fixture
async def store() -> InMemoryHintStore:
    """Three hints in use or nominated, and two that were edited and merged."""
    made = empty()
    source = HintProvenance(
        session_id="s\x1b[31m", model="m", prompt_hash="p", ndcg_before=0, ndcg_after=1
    )
    hints = [
        Hint(text="Prefer old films.", provenance=source, evidence=HintEvidence.of({"a": 0.5})),
        Hint(text="Préférez les comédies <b>.", state="nominated", reason="why not"),
        Hint(text="Prefer films of the past."),
        Hint(text="Prefer war films."),
    ]
    await made.add_many(hints, await embed([hint.text for hint in hints]))
    await edit(made, hints[3].hint_id, "Prefer films about a war.", embed)
    await merge(made, hints[0].hint_id, [hints[2].hint_id])
    return made


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


async def test_a_round_trip_keeps_all_but_the_version(
    store: InMemoryHintStore, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "hints.jsonl"
    assert await export_hints(store, file) == 5
    assert "Préférez" in file.read_text("utf-8")
    assert "vector" not in file.read_text("utf-8")
    copy = empty()
    report = await import_hints(copy, file, embed)
    before = [hint.model_copy(update={"version": 1}) for hint in await store.all(STATES)]
    assert await copy.all(STATES) == before
    assert report == ImportReport(added=tuple(hint.hint_id for hint in before), skipped=())
    assert [revision.note for revision in await copy.revisions()] == ["imported from hints.jsonl"]


async def test_what_is_there_already_is_left_as_it_is(
    store: InMemoryHintStore, tmp_path: Path
) -> None:
    file = tmp_path / "hints.jsonl"
    await export_hints(store, file)
    there = Hint(text="PREFER OLD FILMS.", state="retired")
    copy = empty()
    await copy.add(there, (await embed([there.text]))[0])
    report = await import_hints(copy, file, embed)
    assert report.skipped == (there.hint_id,)
    assert len(report.added) == 4
    assert (await copy.all(STATES))[0].text == there.text

    async def never(texts: list[str]) -> list[list[float]]:
        raise AssertionError("nothing is new")

    revisions = await copy.revisions()
    assert not (await import_hints(copy, file, never)).added
    assert await copy.revisions() == revisions


async def test_hints_can_all_come_in_as_nominated(store: InMemoryHintStore, tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    await export_hints(store, file)
    copy = empty()
    await import_hints(copy, file, embed, as_nominated=True)
    assert {hint.state for hint in await copy.all(STATES)} == {"nominated"}
    assert {hint.merged_into for hint in await copy.all(STATES)} == {None}


async def test_another_namespace_has_to_be_named_and_links_follow(
    store: InMemoryHintStore, tmp_path: Path
) -> None:
    file = tmp_path / "hints.jsonl"
    await export_hints(store, file)
    shop = empty("shop")
    with pytest.raises(InputError, match=r"hints.jsonl:1, field 'namespace'.*'shop'"):
        await import_hints(shop, file, embed, namespace="shop")
    assert await shop.all(STATES) == []
    await import_hints(shop, file, embed, namespace="shop", take_over=True)
    hints = {hint.text: hint for hint in await shop.all(STATES)}
    assert {hint.namespace for hint in hints.values()} == {"shop"}
    merged, kept = hints["Prefer films of the past."], hints["Prefer old films."]
    assert merged.merged_into == kept.hint_id
    edited = hints["Prefer films about a war."]
    assert edited.replaces == hints["Prefer war films."].hint_id


async def test_a_link_to_nowhere_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    itself = Hint(text="x").hint_id
    file.write_text(lines({"text": "x", "merged_into": itself, "replaces": "0123456789abcdef"}))
    store = empty()
    await import_hints(store, file, embed)
    [hint] = await store.all()
    assert (hint.merged_into, hint.replaces) == (None, None)


async def test_vectors_are_written_and_taken_where_they_are_asked_for(
    store: InMemoryHintStore, tmp_path: Path
) -> None:
    file = tmp_path / "hints.jsonl"
    await export_hints(store, file, ["nominated"], embed)
    [written] = read_hints(file)
    assert written.vector == tuple((await embed([written.hint.text]))[0])
    asked: list[str] = []

    async def noting(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return await embed(texts)

    for vectors_of in ("hashed", "minilm", ""):
        await import_hints(empty(), file, noting, vectors_of=vectors_of)
        assert bool(asked) == (vectors_of != "hashed")
        asked.clear()


async def test_a_vector_of_a_nameless_model_is_not_taken_unasked(tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    nameless = {"model": "", "dimension": 16}
    file.write_text(lines({"text": "old", "embedding": nameless, "vector": [1.0] + [0.0] * 15}))
    store = empty()
    await import_hints(store, file, embed)
    [found] = await store.search((await embed(["old"]))[0], 1)
    assert found.similarity == 1.0


async def test_a_vector_that_does_not_fit_names_the_file(
    store: InMemoryHintStore, tmp_path: Path
) -> None:
    file = tmp_path / "hints.jsonl"
    await export_hints(store, file, STATES, embed)
    with pytest.raises(InputError, match=r"hints\.jsonl: does not fit"):
        await import_hints(InMemoryHintStore(3), file, embed, vectors_of="hashed")


async def test_nothing_to_export_writes_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to export"):
        await export_hints(empty(), tmp_path / "hints.jsonl")
    with pytest.raises(InputError, match="is missing"):
        read_hints(tmp_path / "hints.jsonl")


async def test_a_folder_is_not_written_over(store: InMemoryHintStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        await export_hints(store, tmp_path)


def test_a_line_needs_no_more_than_a_text(tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    file.write_text('\n{"text": " Prefer\\told\\u200b films. ", "evidence": null}\n')
    [written] = read_hints(file)
    assert (written.hint, written.line) == (Hint(text="Prefer old films."), 2)


EMBEDDED = {"text": "x", "embedding": {"model": "m", "dimension": 2}}


@pytest.mark.parametrize(
    ("record", "field", "message"),
    [
        ({}, "text", "is missing"),
        ({"text": 3}, "text", "must be a text"),
        ({"text": "\u200b"}, "text", "no letter or digit"),
        ({"text": "x" * 301}, "text", "301 characters"),
        ({"text": "Say C01 first"}, "text", "handle"),
        ({"text": "a\ud800"}, "text", "surrogate"),
        ({"text": "x", "reason": "\ud800"}, "reason", "surrogate"),
        ({"text": "x", "state": "best"}, "state", "admitted"),
        ({"text": "x", "version": "1"}, "version", "integer"),
        ({"text": "x", "version": 0}, "version", "greater"),
        ({"text": "x", "namespace": "../a"}, "namespace", "pattern"),
        ({"text": "x", "namespace": "a\n"}, "namespace", "pattern"),
        ({"text": "x", "hint_id": "0" * 16}, "hint_id", Hint(text="x").hint_id),
        ({"text": "x", "hint_id": ["0"]}, "hint_id", "not the id"),
        ({"text": "x", "code": "rm"}, "code", "not a field"),
        ({"text": "x", "a\x1b[2J\n" * 50: 1}, "a [2J", "not a field"),
        ({"text": "x", "evidence": 1}, "evidence", "object"),
        ({"text": "x", "evidence": EVIDENCE | {"luck": 1}}, "evidence.luck", "not a field"),
        ({"text": "x", "evidence": EVIDENCE | {"sessions": 10**300}}, "sessions", "more than"),
        ({"text": "x", "evidence": EVIDENCE | {"losses": 3}}, "evidence", "more wins"),
        ({"text": "x", "evidence": EVIDENCE | {"low": 0.2}}, "evidence.low", "at most mean_gain"),
        ({"text": "x", "evidence": EVIDENCE | {"low": -1e999}}, "", "not usable JSON"),
        ({"text": "x", "evidence": EVIDENCE | {"mean_gain": 2}}, "evidence.mean_gain", "less"),
        ({"text": "x", "evidence": EVIDENCE | {"effects": {"s": 0.1}}}, "effects", "1 of 4"),
        (
            {"text": "x", "evidence": EVIDENCE | {"effects": {"a": 1, "b": 9, "c": 0, "d": 0}}},
            "evidence.effects",
            "from -1 to 1",
        ),
        ({"text": "x", "provenance": {"session_id": "s"}}, "provenance.model", "required"),
        ({"text": "x", "merged_into": {"a": [[[[[[[[[]]]]]]]]]}}, "merged_into", "deeply"),
        ({"text": "x", "vector": [1]}, "vector", "what made it"),
        (EMBEDDED | {"vector": [1]}, "vector", "2 numbers"),
        (EMBEDDED | {"vector": {"0": 1, "1": 2}}, "vector", "2 numbers"),
        (EMBEDDED | {"vector": [1, True]}, "vector", "not a number"),
        (EMBEDDED | {"vector": [1, 10**400]}, "vector", "not a number"),
        (EMBEDDED | {"vector": [0, 0.0]}, "vector", "zeros"),
    ],
)
def test_an_error_names_file_line_and_field(
    record: dict[str, Any], field: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "hints.jsonl"
    file.write_text(lines({"text": "fine"}, record))
    with pytest.raises(InputError) as caught:
        read_hints(file)
    assert caught.value.line == 2
    assert str(caught.value).startswith(f"{file}:2")
    assert field in (caught.value.field or "")
    assert message in caught.value.problem
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_number_beyond_all_numbers_is_no_bound(tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    line = lines({"text": "x", "evidence": EVIDENCE | {"low": -7.5}})
    file.write_text(line.replace("-7.5", "-1e999"))
    with pytest.raises(InputError, match=r"evidence\.low"):
        read_hints(file)


async def test_one_bad_line_and_nothing_comes_in(tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    file.write_text(lines({"text": "fine"}, {"text": 3}))
    store = empty()
    with pytest.raises(InputError):
        await import_hints(store, file, embed)
    assert await store.all(STATES) == []


def test_a_hint_that_comes_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hints.jsonl"
    file.write_text(lines({"text": "one"}, {"text": "two"}, {"text": "ONE", "state": "retired"}))
    with pytest.raises(InputError, match=r":3, field 'text': repeats the hint of line 1"):
        read_hints(file)


def test_files_that_are_too_large_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hints.jsonl"
    file.write_text(lines({"text": "a"}, {"text": "b" * 200}, {"text": "c"}))
    for name, limit, message in (
        ("MAX_FILE_BYTES", 200, "larger than 200"),
        ("MAX_LINE_BYTES", 200, "hints.jsonl:2: is longer than 200"),
        ("MAX_HINTS", 2, "hints.jsonl:3: has more than 2"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(exchange_file, name, limit)
            with pytest.raises(InputError, match=message):
                read_hints(file)
    assert len(read_hints(file)) == 3


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path, "not a file"),
        (pipe, "not a file"),
        (tmp_path / "none", "missing"),
    ):
        with pytest.raises(InputError, match=message):
            read_hints(path)
