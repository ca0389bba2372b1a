import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llm.catalog_lm.planted import Planted, rank_prompt
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrec.errors import InputError
from agentrec.llm.catalog_lm.folder import CatalogModel, load_model, save_model
from agentrec.llm.catalog_lm.prompt_tokens import prompt_tokens
from agentrec.llm.catalog_lm.reading import read_prompt


@pytest.fixture(scope="module")
def saved(taught: CatalogModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "some" / "model"
    save_model(taught, "# card\n", folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_what_is_saved_is_what_is_loaded(saved: Path, taught: CatalogModel) -> None:
    loaded = load_model(saved)
    assert (loaded.name, loaded.vocabulary) == (taught.name, taught.vocabulary)
    assert not loaded.network.training
    mine, other = taught.network.state_dict(), loaded.network.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_a_folder_holds_no_pickle_and_nothing_is_left_beside_it(saved: Path) -> None:
    names = {file.name for file in saved.iterdir()}
    assert {"README.md", "catalog_lm.json", "config.json", "model.safetensors"} <= names
    assert {Path(name).suffix for name in names} == {".md", ".json", ".safetensors"}
    assert [file.name for file in saved.parent.iterdir()] == ["model"]


def test_an_existing_folder_is_left_as_it_is(folder: Path, films: Planted) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    save_model(films.untrained(), "another card", folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_two_who_finish_at_once_do_no_harm(
    folder: Path, taught: CatalogModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = Path.exists
    # As if the other had moved its folder there just after this one looked.
    monkeypatch.setattr(Path, "exists", lambda self: self != folder and exists(self))
    save_model(taught, "another card", folder)
    assert (folder / "README.md").read_text() == "# card\n"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_save_that_fails_leaves_nothing(
    tmp_path: Path, taught: CatalogModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(taught.network), "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(taught, "card", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_transformers_alone_can_use_it(saved: Path, films: Planted, taught: CatalogModel) -> None:
    network: Any = AutoModelForCausalLM.from_pretrained(saved, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(saved, local_files_only=True)
    labels = films.vocabulary.labels
    for hint in ("prefer kind_horror", "prefer high_made_in and avoid kind_war"):
        text = f"<rank> <history> [{labels[1]}] [{labels[7]}] <hint> {hint} <answer>"
        encoded = tokenizer(text, return_tensors="pt")
        written = network.generate(**encoded, max_new_tokens=3, do_sample=False)
        start = encoded["input_ids"].shape[1]
        with torch.inference_mode():
            best = int(taught.network(**encoded).logits[0, -1].argmax())
        assert int(written[0, start]) == best >= films.vocabulary.first_item
        assert tokenizer.decode([best]) == f"[{labels[best - films.vocabulary.first_item]}]"


def test_a_rendered_prompt_generates_the_same_through_either_way(
    saved: Path, films: Planted, taught: CatalogModel
) -> None:
    network: Any = AutoModelForCausalLM.from_pretrained(saved, local_files_only=True)
    prompt = read_prompt(rank_prompt(films, films.session(0)), films.vocabulary)
    assert prompt is not None
    tokens = torch.tensor([prompt_tokens(prompt.task, prompt.sections, films.vocabulary)])
    written = network.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=1, do_sample=False
    )
    with torch.inference_mode():
        logits = taught.network(input_ids=tokens).logits[0, -1]
    assert int(written[0, -1]) == int(logits.argmax())


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def _lacking(file: Path) -> None:
    save_file({k: v for k, v in load_file(file).items() if "norm" not in k}, file, {"format": "pt"})


def _described(**changes: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


BROKEN: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no vocabulary": ("catalog_lm.json", Path.unlink),
    "vocabulary cut": ("catalog_lm.json", _cut),
    "vocabulary of another kind": ("catalog_lm.json", lambda f: f.write_text("[]")),
    "vocabulary lacks words": ("catalog_lm.json", lambda f: f.write_text('{"name": "x"}')),
    "no weights": ("model.safetensors", Path.unlink),
    "weights empty": ("model.safetensors", lambda f: f.write_bytes(b"")),
    "weights cut": ("model.safetensors", _cut),
    "weights lack some": ("model.safetensors", _lacking),
    "no config": ("config.json", Path.unlink),
    "config cut": ("config.json", _cut),
    "config of binary": ("config.json", lambda f: f.write_bytes(b"\xff\xfe\x00")),
    "another network": ("config.json", lambda f: f.write_text('{"model_type": "gpt2"}')),
    "no network": ("", lambda f: (f / "config.json").write_text("{}")),
    "other shapes": ("", lambda f: _described(hidden_size=32)(f / "config.json")),
    "fewer words": ("", lambda f: _described(words=["a"])(f / "catalog_lm.json")),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_refused_by_the_file_that_is_broken(folder: Path, how: str) -> None:
    name, damage = BROKEN[how]
    damage(folder / name)
    with pytest.raises(InputError) as caught:
        load_model(folder)
    assert name in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder of an embedded model"):
        load_model(tmp_path / "none")


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_model(folder)
