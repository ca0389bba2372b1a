import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded_model.planted import Planted, compact, rank_prompt
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrec.embedded_model.decoding import Sampling, rank_candidates
from agentrec.embedded_model.folder import CatalogModel, load_model, save_model
from agentrec.embedded_model.vocabulary import prompt_tokens
from agentrec.errors import InputError
from agentrec.llm.prompts.session_view import SessionView, handle
from agentrec.sessions import Session


@pytest.fixture(scope="module")
def saved(taught: CatalogModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "some" / "model"
    save_model(taught, "# card\n", folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_saved_model_is_loaded_unchanged(saved: Path, taught: CatalogModel) -> None:
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


def test_two_processes_that_finish_at_once_do_no_harm(
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


def as_text(planted: Planted, session: Session, hint: str) -> str:
    """A compact prompt as text, as the model card describes it.

    ``<rank> <history> <none> <none> [A] [B] <candidates> [C] [D] <hint> prefer kind_war <answer>``
    with ten indices in the history; an item is its label in square brackets.
    """
    labels = planted.catalog.labels
    history = [f"[{labels[i]}]" for i in session.items]
    shown = SessionView.of(session, planted.catalog).candidate_ids
    return " ".join(
        [
            "<rank> <history>",
            *["<none>"] * (10 - len(history)),
            *history,
            "<candidates>",
            *(f"[{labels[i]}]" for i in shown),
            *([f"<hint> {hint}"] if hint else []),
            "<answer>",
        ]
    )


@pytest.mark.parametrize(
    "hint", ["", "prefer kind_horror", "avoid kind_war and prefer high_made_in"]
)
def test_transformers_alone_names_first_what_our_ranking_puts_first(
    saved: Path, films: Planted, taught: CatalogModel, hint: str
) -> None:
    network: Any = AutoModelForCausalLM.from_pretrained(saved, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(saved, local_files_only=True)
    agreed = 0
    for seed in range(8):
        session = films.session(seed)
        encoded = tokenizer(as_text(films, session, hint), return_tensors="pt")
        plain_words = hint.replace("_", " ") or None
        prompt = compact(films, rank_prompt(films, session, plain_words))
        tokens = prompt_tokens(prompt.task, prompt.sections, films.vocabulary)
        assert encoded["input_ids"].tolist() == [tokens]
        written = network.generate(**encoded, max_new_tokens=1, do_sample=False)
        (order,) = rank_candidates(taught, [prompt], [Sampling()])
        named = tokenizer.decode(written[0, -1:])
        with torch.inference_mode():
            logits = taught.network(**encoded).logits[0, -1]
        handles = logits[films.vocabulary.first_handle : films.vocabulary.first_item]
        # Nothing is masked here: what is written is what is most probable out of everything.
        assert named == tokenizer.decode([int(logits.argmax())])
        assert handle(int(handles[:20].argmax())) == handle(order[0])
        agreed += named == handle(order[0])
    assert agreed >= 2


def test_fine_tuning_with_transformers_alone_works(saved: Path, films: Planted) -> None:
    network: Any = AutoModelForCausalLM.from_pretrained(saved, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(saved, local_files_only=True)
    texts = [
        f"{as_text(films, films.session(seed), 'prefer kind_war')} C0{seed + 1}"
        for seed in range(3)
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    labels = batch["input_ids"].clone()
    labels[:, :-1] = -100
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    losses = []
    for _ in range(4):
        loss = network(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def _lacking(file: Path) -> None:
    save_file({k: v for k, v in load_file(file).items() if "ln_f" not in k}, file, {"format": "pt"})


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
    "another network": ("config.json", lambda f: f.write_text('{"model_type": "llama"}')),
    "no network": ("", lambda f: (f / "config.json").write_text("{}")),
    "other shapes": ("", lambda f: _described(n_embd=32)(f / "config.json")),
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
    with pytest.raises(InputError, match="not the folder of an embedded model"):
        load_model(tmp_path / "none")


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_model(folder)
