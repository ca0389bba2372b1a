from pathlib import Path
from typing import Any

import pytest
from embedded_model.planted import HOSTILE, TEXT_TASKS, Planted, rank_prompt, text_prompt
from transformers import AutoTokenizer

from agentrec.embedded_model.prompt_parser import parse_prompt
from agentrec.embedded_model.vocabulary import (
    ANSWER,
    END,
    MAX_CANDIDATES,
    NONE,
    PAD,
    SAY,
    SPECIAL,
    UNKNOWN,
    item_token,
    prompt_tokens,
)
from agentrec.llm.prompts.session_view import handle

HINT = "Prefer kind tragic tale and avoid made in 1956 to 1963."


@pytest.fixture(params=["fresh", "loaded"])
def tokenizer(request: pytest.FixtureRequest, films: Planted, tmp_path: Path) -> Any:
    fresh = films.vocabulary.tokenizer()
    if request.param == "fresh":
        return fresh
    fresh.save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)


HANDLES = tuple(handle(index) for index in range(MAX_CANDIDATES))


def written(tokens: list[int], films: Planted) -> str:
    vocabulary = films.vocabulary
    items = (item_token(label) for label in vocabulary.labels)
    names = [*SPECIAL, *vocabulary.words, *HANDLES, *items]
    return " ".join(names[token] for token in tokens)


def test_ids_are_marks_then_words_then_handles_then_items(films: Planted, tokenizer: Any) -> None:
    vocabulary = films.vocabulary
    assert len(tokenizer) == vocabulary.size == len(SPECIAL) + len(vocabulary.words) + 180
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    assert tokenizer.convert_tokens_to_ids(list(vocabulary.words)) == [
        vocabulary.ids[word] for word in vocabulary.words
    ]
    assert tokenizer.convert_tokens_to_ids(list(HANDLES)) == list(
        range(vocabulary.first_handle, vocabulary.first_handle + 100)
    )
    assert vocabulary.first_item == vocabulary.first_handle + 100
    names = [item_token(label) for label in vocabulary.labels]
    assert tokenizer.convert_tokens_to_ids(names) == list(
        range(vocabulary.first_item, vocabulary.size)
    )
    assert (tokenizer.pad_token, tokenizer.unk_token, tokenizer.eos_token) == (PAD, UNKNOWN, END)


def test_a_label_of_many_words_and_brackets_is_one_token(films: Planted, tokenizer: Any) -> None:
    for index, label in enumerate(films.vocabulary.labels):
        encoded = tokenizer.encode(item_token(label), add_special_tokens=False)
        assert encoded == [films.vocabulary.first_item + index], label


def test_every_token_survives_a_round_trip(films: Planted, tokenizer: Any) -> None:
    tokens = list(range(films.vocabulary.size))
    text = written(tokens, films)
    assert tokenizer.encode(text, add_special_tokens=False) == tokens
    assert tokenizer.decode(tokens, clean_up_tokenization_spaces=False) == text


def test_titles_that_repeat_are_tokens_of_their_own(titles: Planted) -> None:
    labels = titles.vocabulary.labels
    shown = [item.title for item in titles.catalog.values()]
    assert len(set(shown)) < len(set(labels)) == 80
    tokenizer = titles.vocabulary.tokenizer()
    encoded = [tokenizer.encode(item_token(label), add_special_tokens=False) for label in labels]
    assert encoded == [[titles.vocabulary.first_item + index] for index in range(80)]


def test_the_compact_text_encodes_to_the_prompt(films: Planted, tokenizer: Any) -> None:
    for seed in range(20):
        session = films.session(seed)
        if seed < len(HOSTILE):
            hostile = f"i{sorted(HOSTILE)[seed]}"
            session = session.model_copy(update={"items": (hostile, *session.items)})
        for messages in (
            rank_prompt(films, session, HINT),
            rank_prompt(films, session),
            *(text_prompt(name, films, session) for name in TEXT_TASKS),
        ):
            prompt = parse_prompt(messages, films.vocabulary)
            assert prompt is not None
            tokens = prompt_tokens(prompt.task, prompt.sections, films.vocabulary)
            assert tokenizer.encode(written(tokens, films), add_special_tokens=False) == tokens
            assert tokenizer(written(tokens, films))["input_ids"] == tokens


def test_every_part_of_a_prompt_has_a_fixed_position(films: Planted) -> None:
    ids = films.vocabulary.ids
    none, first = ids[NONE], films.vocabulary.first_item
    items = [first + n for n in range(12)]
    for length in (0, 1, 9, 10, 12):
        sections = {"<hint>": [20], "<history>": items[:length], "<candidates>": [first, first + 5]}
        shown = items[:length][-10:]
        assert prompt_tokens("rank", sections, films.vocabulary) == [
            ids["<rank>"],
            ids["<history>"],
            *[none] * (10 - len(shown)),
            *shown,
            ids["<candidates>"],
            first,
            first + 5,
            ids["<hint>"],
            20,
            ids[ANSWER],
        ]


def test_reflection_shows_predictions_and_target_alone(films: Planted) -> None:
    ids = films.vocabulary.ids
    predictions = list(range(40, 50))
    sections = {"<history>": [30], "<predictions>": predictions, "<target>": [60], "<hint>": [20]}
    for task in ("diagnose", "hints"):
        assert prompt_tokens(task, sections, films.vocabulary) == [
            ids[f"<{task}>"],
            ids["<predictions>"],
            *predictions,
            60,
            ids[SAY],
        ]
    short = prompt_tokens("critique", {"<predictions>": [40]}, films.vocabulary)
    assert short == [ids["<critique>"], ids["<predictions>"], *[ids[NONE]] * 9, 40, ids[SAY]]


def test_sections_that_are_empty_are_left_out(films: Planted) -> None:
    ids = films.vocabulary.ids
    bare = prompt_tokens("question", {"<hint>": [], "<target>": [40]}, films.vocabulary)
    assert bare == [ids["<question>"], ids["<history>"], *[ids[NONE]] * 10, ids[SAY]]
    both = {"<candidates>": [41], "<factors>": [42]}
    tokens = prompt_tokens("preference", both, films.vocabulary)
    assert tokens[12:] == [ids["<factors>"], 42, ids["<candidates>"], 41, ids[SAY]]


def test_no_more_candidates_are_taken_than_there_are_handles(films: Planted) -> None:
    tokens = prompt_tokens("rank", {"<candidates>": range(300, 420)}, films.vocabulary)
    assert tokens[13:-1] == list(range(300, 400))


def test_padding_goes_in_front(tokenizer: Any) -> None:
    batch = tokenizer(["<rank> <answer>", "<answer>"], padding=True)
    assert batch["input_ids"][1][0] == tokenizer.pad_token_id
    assert batch["attention_mask"][1] == [0, 1]
