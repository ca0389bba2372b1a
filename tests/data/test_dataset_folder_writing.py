from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.data import (
    Dataset,
    dataset_folder,
    load_folder,
    read_folder,
    with_candidates,
    write_folder,
)
from agentrec.errors import InputError

MakeDataset = Callable[..., Dataset]

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def with_attributes(dataset: Dataset, attributes: dict[str, AttributeValue]) -> Dataset:
    first, *others = dataset.catalog.values()
    marked = Item(item_id=first.item_id, title=first.title, attributes=attributes)
    return replace(dataset, catalog=Catalog([marked, *others]))


@pytest.mark.parametrize("complete", [True, False])
def test_a_written_folder_is_read_again(
    make_dataset: MakeDataset, tmp_path: Path, complete: bool
) -> None:
    dataset = with_candidates(make_dataset()) if complete else make_dataset()
    first, *others = dataset.train
    owned = first.model_copy(update={"user_id": "ann"})
    dataset = replace(dataset, train=(owned, *others))
    folder = tmp_path / "deep" / "shop"
    write_folder(dataset, folder)
    again = read_folder(folder)
    assert again.content_hash == dataset.content_hash
    assert (again.train, again.valid, again.test) == (dataset.train, dataset.valid, dataset.test)
    assert (again.name, again.notes) == ("shop", ())
    assert load_folder(folder).content_hash == with_candidates(dataset).content_hash
    assert [path.name for path in folder.parent.iterdir()] == ["shop"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.dictionaries(
        texts.filter(lambda name: name not in ("item_id", "title")),
        st.one_of(
            texts,
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.lists(texts, max_size=3).map(tuple),
        ),
        max_size=4,
    )
)
def test_any_attribute_survives(
    make_dataset: MakeDataset,
    tmp_path_factory: pytest.TempPathFactory,
    attributes: dict[str, AttributeValue],
) -> None:
    dataset = with_attributes(make_dataset(20), attributes)
    folder = tmp_path_factory.mktemp("written") / "shop"
    write_folder(dataset, folder)
    again = read_folder(folder).catalog
    assert again.content_hash == dataset.catalog.content_hash
    assert list(again["0"].attributes) == list(attributes)


def test_nothing_is_overwritten(make_dataset: MakeDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already") as caught:
        write_folder(make_dataset(), tmp_path)
    assert caught.value.file == tmp_path
    assert not list(tmp_path.iterdir())


def test_being_interrupted_leaves_nothing_behind(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset_folder, "_session_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(make_dataset(), tmp_path / "shop")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_path_is_named(make_dataset: MakeDataset, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="cannot be written") as caught:
        write_folder(make_dataset(), file / "shop")
    assert caught.value.file == file / "shop"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"title": "Other"}, "name of a field"),
        ({"score": float("nan")}, "finite"),
        ({"score": float("-inf")}, "finite"),
    ],
)
def test_attributes_that_the_format_cannot_hold_are_named(
    make_dataset: MakeDataset,
    tmp_path: Path,
    attributes: dict[str, AttributeValue],
    problem: str,
) -> None:
    dataset = with_attributes(make_dataset(), attributes)
    with pytest.raises(InputError, match=problem) as caught:
        write_folder(dataset, tmp_path / "shop")
    assert caught.value.field == next(iter(attributes))
    assert not list(tmp_path.iterdir())
