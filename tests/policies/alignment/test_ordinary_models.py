"""Causal models of the ordinary kind: whole, or with an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from app.planted_pairs import planted_pairs, short_pairs
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrec.errors import InputError
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.models import folder_hash, open_model, open_tuned
from agentrec.policies.alignment.training import align
from agentrec.policies.alignment.tuning_evaluation import judge

QUICK = AlignmentConfig(epochs=1, batch_size=8, learning_rate=1e-2)


def test_all_parameters_are_tuned_into_a_folder_of_the_same_kind(
    llama: Path, tmp_path: Path
) -> None:
    done = align(short_pairs(24), llama, tmp_path / "out", QUICK)
    assert done.record.tuned == "all"
    network = AutoModelForCausalLM.from_pretrained(done.folder)
    assert network.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(llama).chat_template
    told = judge(short_pairs(30)[24:], llama, done.folder)
    assert told.margin.low > 0
    assert told.in_form is None


def test_weights_come_back_in_the_type_they_were_stored_in(llama: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(llama).to(torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(llama).save_pretrained(half)
    done = align(short_pairs(8), half, tmp_path / "out", QUICK)
    kept = load_file(done.folder / "model.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.bfloat16}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_an_adapter_names_its_model_and_loads(llama: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"lora_rank": 4})
    done = align(short_pairs(24), llama, tmp_path / "adapter", config)
    assert done.record.tuned == "lora"
    described = json.loads((done.folder / "adapter_config.json").read_text())
    assert described["base_model_name_or_path"] == str(llama)
    assert (described["r"], described["lora_alpha"]) == (4, 8)
    assert not (done.folder / "model.safetensors").exists()
    network = AutoPeftModelForCausalLM.from_pretrained(done.folder)
    kept = load_file(done.folder / "adapter_model.safetensors")
    assert sum(value.abs().sum() for name, value in kept.items() if "lora_B" in name) > 0
    assert network.get_nb_trainable_parameters()[0] == 0
    told = judge(short_pairs(30)[24:], llama, done.folder)
    assert told.margin.low > 0
    again = align(short_pairs(24), llama, tmp_path / "again", config)
    assert again.record.parameter_hash == done.record.parameter_hash


def test_a_plain_model_learns_its_chosen_texts(llama: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"method": "rft", "accumulation": 2})
    done = align(short_pairs(24), llama, tmp_path / "out", config)
    losses = [point.loss for point in done.points if point.part == "train"]
    assert losses[-1] < losses[0]


def test_of_users_nobody_is_on_both_sides(llama: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"eval_share": 0.25})
    record = align(short_pairs(24), llama, tmp_path / "out", config).record
    assert (record.trained_on, record.held_out) == (18, 6)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "cannot be loaded"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "is an adapter"),
        (lambda folder: _without_a_weight(folder), "its weights lack"),
    ],
)
def test_a_folder_that_is_none_is_told(
    spoil: object, told: str, llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(InputError, match=told):
        open_model(folder)


def _without_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_no_folder_and_no_hub_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        open_model(tmp_path / "nowhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cannot be downloaded from the hub"):
        open_model("hub:nobody/nothing")


def test_an_adapter_without_its_weights_is_told(llama: Path, tmp_path: Path) -> None:
    described = {"base_model_name_or_path": str(llama)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match=r"no adapter_model\.safetensors"):
        open_tuned(tmp_path)


def test_models_that_read_pairs_otherwise_are_not_compared(llama: Path, taught: Path) -> None:
    with pytest.raises(InputError, match="in other tokens"):
        judge(planted_pairs(4), taught, llama)


def test_the_hash_of_a_folder_is_of_what_the_model_is(llama: Path, tmp_path: Path) -> None:
    for file in llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "README.md").write_text("other words")
    assert folder_hash(tmp_path) == folder_hash(llama)
    (tmp_path / "config.json").write_text("{}")
    assert folder_hash(tmp_path) != folder_hash(llama)


def test_without_the_extra_it_is_named(llama: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "trl", None)
        with pytest.raises(InputError, match=r"needs the extra: pip install 'agentrec\[dpo\]'"):
            align(short_pairs(4), llama, tmp_path / "out")
