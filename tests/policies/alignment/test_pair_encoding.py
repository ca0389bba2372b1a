"""Pairs become tokens as they are, or are counted and left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from app.planted_pairs import save_tiny_llama, short_pairs
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

from agentrec.policies.alignment.models import open_model
from agentrec.policies.alignment.pair_encoding import (
    ChatPairTokenizer,
    Example,
    NotEncodableError,
    distinct_chosen,
    encode_pairs,
    examples_hash,
    plain_prompt,
    split_by_user,
)
from agentrec.policies.alignment.trl_trainers import restored_process_state
from agentrec.preferences import PreferencePair


class Letters:
    """One token a character; knows neither ``?`` nor capital letters in answers."""

    def tokens(self, pair: PreferencePair) -> tuple[list[int], list[int], list[int]]:
        if "?" in pair.chosen:
            raise NotEncodableError("a question")
        prompt, chosen, rejected = (
            [ord(letter) for letter in text.casefold()]
            for text in (pair.prompt[-1].content, pair.chosen, pair.rejected)
        )
        return prompt, chosen, rejected


def changed(pair: PreferencePair, **fields: object) -> PreferencePair:
    return PreferencePair.model_validate(pair.model_dump() | fields)


def example(number: int, group: str = "", chosen: int = 1) -> Example:
    return Example(f"p{number}", f"s{number}", group or f"u{number}", (0,), (chosen,), (2,))


def test_what_cannot_be_used_is_counted_by_its_reason() -> None:
    good, other, *rest = short_pairs(4)
    pairs = [
        good,
        changed(other, chosen="what?"),
        changed(rest[0], chosen="what else?"),
        good,
        changed(other, chosen="Same", rejected="same"),
        changed(rest[1], chosen="x" * 100),
    ]
    examples = encode_pairs(pairs, Letters(), max_length=80)
    assert [one.pair_id for one in examples.usable] == [good.pair_id]
    assert examples.left_out == {
        "a question": 2,
        "the same pair again": 1,
        "both texts are the same to this model": 1,
        "longer than 80 tokens": 1,
    }


def test_a_pair_of_just_the_length_is_taken() -> None:
    pair = short_pairs(1)[0]
    length = len(pair.prompt[-1].content) + max(len(pair.chosen), len(pair.rejected))
    assert encode_pairs([pair], Letters(), length).usable
    assert not encode_pairs([pair], Letters(), length - 1).usable


def test_users_are_on_one_side_only_and_a_seed_draws_them() -> None:
    examples = [example(n, f"u{n // 3}") for n in range(60)]
    train, apart = split_by_user(examples, 0.2, seed=1)
    assert len(apart) == 12
    assert not {one.group for one in train} & {one.group for one in apart}
    assert sorted([*train, *apart], key=examples.index) == examples
    assert split_by_user(examples, 0.2, seed=1) == (train, apart)
    assert split_by_user(examples, 0.2, seed=2) != (train, apart)


@pytest.mark.parametrize(("users", "share", "kept_out"), [(1, 0.5, 0), (2, 0.01, 1), (5, 0.0, 0)])
def test_there_is_always_something_to_learn_from(users: int, share: float, kept_out: int) -> None:
    train, apart = split_by_user([example(n) for n in range(users)], share, seed=0)
    assert (len(train), len(apart)) == (users - kept_out, kept_out)


def test_a_chosen_text_is_learnt_by_heart_once() -> None:
    examples = [example(0), example(1), example(2, chosen=3)]
    assert distinct_chosen(examples) == [examples[0], examples[2]]


def test_the_hash_is_of_everything_and_the_order() -> None:
    one, two = example(0), example(1)
    hashes = {examples_hash(each) for each in ([one], [two], [one, two], [two, one], [])}
    assert len(hashes) == 5


def tokens_of_trl(model: Path, row: dict[str, object], folder: Path) -> Any:
    opened = open_model(model)
    with restored_process_state():
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
    ours = ChatPairTokenizer(AutoTokenizer.from_pretrained(model)).tokens(pair)
    assert ours == (theirs["prompt_ids"], theirs["chosen_ids"], theirs["rejected_ids"])


def test_a_text_ends_with_the_mark_for_it(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    prompt, chosen, rejected = ChatPairTokenizer(tokenizer).tokens(short_pairs(1)[0])
    assert tokenizer.decode(chosen) == "kind: comedy<|end|>"
    assert tokenizer.decode(rejected) == "kind: war<|end|>"
    assert tokenizer.decode(prompt).endswith("like?<|end|><|assistant|>")


def test_what_a_template_refuses_is_left_out_with_its_words(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(NotEncodableError, match="refuses it: no system turns"):
        ChatPairTokenizer(tokenizer).tokens(short_pairs(1)[0])
