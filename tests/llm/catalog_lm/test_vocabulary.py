from pathlib import Path
from typing import Any

import pytest
from llm.catalog_lm.planted import HOSTILE, Planted, rank_prompt, reflecting_prompt
from transformers import AutoTokenizer

from agentrec.llm.catalog_lm.prompt_tokens import prompt_tokens
from agentrec.llm.catalog_lm.reading import read_prompt
from agentrec.llm.catalog_lm.vocabulary import (
    ANSWER,
    END,
    PAD,
    SECTIONS,
    SPECIAL,
    UNKNOWN,
    item_token,
)

HINT = "Prefer kind tragic tale and avoid made in 1956 to 1963."


@pytest.fixture(params=["fresh", "loaded"])
def tokenizer(request: pytest.FixtureRequest, films: Planted, tmp_path: Path) -> Any:
    fresh = films.vocabulary.tokenizer()
    if request.param == "fresh":
        return fresh
    fresh.save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)


def written(tokens: list[int], films: Planted) -> str:
    vocabulary = films.vocabulary
    names = [*SPECIAL, *vocabulary.words, *(item_token(label) for label in vocabulary.labels)]
    return " ".join(names[token] for token in tokens)


def test_ids_are_marks_then_words_then_items(films: Planted, tokenizer: Any) -> None:
    vocabulary = films.vocabulary
    assert len(tokenizer) == vocabulary.size == len(SPECIAL) + len(vocabulary.words) + 80
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    assert tokenizer.convert_tokens_to_ids(list(vocabulary.words)) == [
        vocabulary.ids[word] for word in vocabulary.words
    ]
    names = [item_token(label) for label in vocabulary.labels]
    assert tokenizer.convert_tokens_to_ids(names) == list(
        range(vocabulary.first_item, vocabulary.size)
    )
    assert (tokenizer.pad_token, tokenizer.unk_token, tokenizer.eos_token) == (PAD, UNKNOWN, END)


def test_a_label_of_many_words_and_brackets_is_one_token(films: Planted, tokenizer: Any) -> None:
    for place, label in enumerate(films.vocabulary.labels):
        encoded = tokenizer.encode(item_token(label), add_special_tokens=False)
        assert encoded == [films.vocabulary.first_item + place], label


def test_titles_that_repeat_are_tokens_of_their_own(titles: Planted) -> None:
    labels = titles.vocabulary.labels
    shown = [item.title for item in titles.catalog.values()]
    assert len(set(shown)) < len(set(labels)) == 80
    tokenizer = titles.vocabulary.tokenizer()
    encoded = [tokenizer.encode(item_token(label), add_special_tokens=False) for label in labels]
    assert encoded == [[titles.vocabulary.first_item + place] for place in range(80)]


def test_the_compact_text_encodes_to_the_very_prompt(films: Planted, tokenizer: Any) -> None:
    for seed in range(20):
        session = films.session(seed)
        if seed < len(HOSTILE):
            hostile = f"i{sorted(HOSTILE)[seed]}"
            session = session.model_copy(update={"items": (hostile, *session.items)})
        for messages in (
            rank_prompt(films, session, HINT),
            rank_prompt(films, session),
            reflecting_prompt("hints", films, session),
        ):
            prompt = read_prompt(messages, films.vocabulary)
            assert prompt is not None
            tokens = prompt_tokens(prompt.task, prompt.sections, films.vocabulary)
            assert tokenizer.encode(written(tokens, films), add_special_tokens=False) == tokens
            assert tokenizer(written(tokens, films))["input_ids"] == tokens


def test_prompts_have_their_sections_in_order_and_empty_ones_left_out(films: Planted) -> None:
    ids = films.vocabulary.ids
    sections = {"<hint>": [20], "<history>": [30, 31], "<target>": []}
    assert prompt_tokens("rank", sections, films.vocabulary) == [
        ids["<rank>"],
        ids["<history>"],
        30,
        31,
        ids["<hint>"],
        20,
        ids[ANSWER],
    ]
    backwards = {mark: [40] for mark in reversed(SECTIONS)}
    tokens = prompt_tokens("hints", backwards, films.vocabulary)
    assert [t for t in tokens[1:-1] if t != 40] == [ids[mark] for mark in SECTIONS]


def test_padding_goes_in_front(tokenizer: Any) -> None:
    batch = tokenizer(["<rank> <answer>", "<answer>"], padding=True)
    assert batch["input_ids"][1][0] == tokenizer.pad_token_id
    assert batch["attention_mask"][1] == [0, 1]
