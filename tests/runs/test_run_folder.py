import json
from pathlib import Path

import pytest

from agentrec.errors import InputError
from agentrec.runs.run_folder import RunFolder

MANIFEST = {"identity": {"seed": 1, "llm": "a:b", "limits": [1, 2]}, "versions": {"torch": "2"}}


def content_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_run_makes_its_folder_and_manifest(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "first")
    folder.begin(MANIFEST)
    assert json.loads(folder.manifest.read_text()) == MANIFEST
    assert [p.name for p in folder.path.iterdir()] == ["manifest.json"]


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin(MANIFEST)
    assert (tmp_path / "manifest.json").is_file()


def test_a_folder_whose_making_was_killed_may_be_used(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.abc.tmp").write_text('{"iden')
    RunFolder(tmp_path).begin(MANIFEST)
    assert json.loads((tmp_path / "manifest.json").read_text()) == MANIFEST


def test_the_same_run_goes_on_and_keeps_its_manifest(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(MANIFEST)
    folder.metrics.write_text("{}")
    before = content_of(tmp_path)
    folder.begin({**MANIFEST, "versions": {"torch": "3"}})
    # A tuple is what JSON makes a list of.
    folder.begin({"identity": {**MANIFEST["identity"], "limits": (1, 2)}})
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"seed": 2}, "seed", "seed 1, not 2"),
        ({"llm": "c:d"}, "llm", "llm 'a:b', not 'c:d'"),
        ({"new": True}, "new", "new None, not True"),
    ],
)
def test_another_run_is_refused_by_the_field_that_differs(
    tmp_path: Path, change: dict[str, object], field: str, told: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(MANIFEST)
    before = content_of(tmp_path)
    with pytest.raises(InputError, match=told) as caught:
        folder.begin({"identity": {**MANIFEST["identity"], **change}})
    assert caught.value.field == field
    assert caught.value.file == folder.path
    assert content_of(tmp_path) == before


def test_a_setting_that_is_gone_is_a_difference(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin(MANIFEST)
    with pytest.raises(InputError, match="limits"):
        RunFolder(tmp_path).begin({"identity": {"seed": 1, "llm": "a:b"}})


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder(tmp_path).begin(MANIFEST)
    assert content_of(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("text")
    for path in (file, file / "below"):
        with pytest.raises(InputError):
            RunFolder(path).begin(MANIFEST)
    assert file.read_text() == "text"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"identity": [1]}', '"x"', "\xff"])
def test_a_damaged_manifest_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="is not a manifest"):
        RunFolder(tmp_path).begin(MANIFEST)


def test_files_of_a_run_have_names_of_their_own(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    places = [
        folder.manifest,
        folder.calls,
        folder.knowledge_base,
        folder.hints,
        folder.rewards("train"),
        folder.rewards("valid"),
        folder.policies,
        folder.live,
        folder.metrics,
    ]
    assert len(set(places)) == len(places)
    assert {place.parent for place in places} == {tmp_path}
