"""Ordinary chat models get the tokens that TRL would have made of the same pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from app.planted_pairs import save_tiny_llama, short_pairs
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

from agentrec.policies.alignment.chat_tokens import ChatTokens, plain_prompt
from agentrec.policies.alignment.examples import NotEncodableError
from agentrec.policies.alignment.models import open_model
from agentrec.policies.alignment.surroundings import undisturbed


def tokens_of_trl(model: Path, row: dict[str, object], folder: Path) -> Any:
    opened = open_model(model)
    with undisturbed():
        trainer = DPOTrainer(
            model=opened.network,
            processing_class=opened.tokenizer,
            args=DPOConfig(
                output_dir=str(folder),
                use_cpu=True,
                bf16=False,
                report_to=[],
                precompute_ref_log_probs=True,
            ),
            train_dataset=Dataset.from_list([row]),
        )
    return trainer.train_dataset[0]


@pytest.mark.parametrize("template", [True, False])
def test_the_tokens_are_those_of_trl(template: bool, tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "model", template=template)
    pair = short_pairs(1)[0]
    turns = [turn.model_dump() for turn in pair.prompt]
    row: dict[str, object] = {
        "prompt": turns,
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }
    if not template:
        row = {
            "prompt": plain_prompt(turns),
            "chosen": pair.chosen,
            "rejected": pair.rejected,
        }
    theirs = tokens_of_trl(model, row, tmp_path / "trl")
    ours = ChatTokens(AutoTokenizer.from_pretrained(model)).tokens(pair)
    assert ours == (theirs["prompt_ids"], theirs["chosen_ids"], theirs["rejected_ids"])


def test_a_text_ends_with_the_mark_for_it(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    prompt, chosen, rejected = ChatTokens(tokenizer).tokens(short_pairs(1)[0])
    assert tokenizer.decode(chosen) == "kind: comedy<|end|>"
    assert tokenizer.decode(rejected) == "kind: war<|end|>"
    assert tokenizer.decode(prompt).endswith("like?<|end|><|assistant|>")


def test_what_a_template_refuses_is_left_out_with_its_words(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(NotEncodableError, match="refuses it: no system turns"):
        ChatTokens(tokenizer).tokens(short_pairs(1)[0])
