"""Log-probabilities are right, and means are over sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from app.planted_pairs import pair_of, planted_pairs, short_pairs

from agentrec.embedded_model.folder import load_model
from agentrec.errors import InputError
from agentrec.policies.alignment.models import open_model
from agentrec.policies.alignment.pair_encoding import encode_pairs
from agentrec.policies.alignment.training import Alignment
from agentrec.policies.alignment.tuning_evaluation import (
    _lines_in_form,
    judge,
    log_probabilities,
    well_formed_share,
)


@torch.no_grad()
def test_log_probabilities_are_those_of_each_text_by_itself(llama: Path) -> None:
    model = open_model(llama)
    examples = encode_pairs(short_pairs(20), model.token_ids, 500).usable
    found = log_probabilities(model, examples)
    for row, example in zip(found, examples, strict=True):
        for value, text in zip(row, (example.chosen_ids, example.rejected_ids), strict=True):
            ids = torch.tensor([[*example.prompt_ids, *text]])
            scores = model.network(ids).logits[0].log_softmax(dim=-1)
            at = len(example.prompt_ids)
            wanted = sum(float(scores[at - 1 + n, token]) for n, token in enumerate(text))
            assert value == pytest.approx(wanted, abs=1e-3)


@torch.no_grad()
def test_the_embedded_model_is_asked_for_words_alone(taught: Path) -> None:
    model = open_model(taught)
    example = encode_pairs(planted_pairs(1), model.token_ids, 500).usable[0]
    plain = load_model(taught)
    ids = torch.tensor([[*example.prompt_ids, *example.chosen_ids]])
    logits = plain.network(ids).logits[0, :, : plain.vocabulary.first_handle]
    scores = logits.log_softmax(dim=-1)
    at = len(example.prompt_ids) - 1
    wanted = sum(float(scores[at + n, t]) for n, t in enumerate(example.chosen_ids))
    assert log_probabilities(model, [example])[0, 0] == pytest.approx(wanted, abs=1e-3)


def test_a_model_beside_itself_gained_nothing(taught: Path) -> None:
    told = judge(planted_pairs(6), taught, taught)
    assert (told.accuracy.mean, told.margin.mean, told.chosen_gain.mean) == (0.5, 0.0, 0.0)
    assert told.in_form is not None
    assert told.in_form[0] == told.in_form[1]


def test_a_session_counts_once(taught: Path, tuned: Alignment) -> None:
    one = planted_pairs(1)
    many = [pair_of(1, f"kind: {kind}", "fame: well known") for kind in ("war", "horror", "comedy")]
    alone = [judge(pairs, taught, tuned.folder).chosen_gain.mean for pairs in (one, many)]
    told = judge([*one, *many], taught, tuned.folder)
    assert (told.pairs, told.sessions) == (4, 2)
    assert told.chosen_gain.mean == pytest.approx(np.mean(alone))


def test_lines_are_in_form_one_by_one(taught: Path) -> None:
    model = open_model(taught)
    assert model.embedded is not None
    vocabulary = model.embedded.vocabulary
    prompt = encode_pairs(planted_pairs(1), model.token_ids, 500).usable[0].prompt_ids

    def counted(text: str) -> tuple[int, int]:
        return _lines_in_form(prompt, [vocabulary.ids[word] for word in text.split()], vocabulary)

    assert counted("kind : kind_war ; fame : well_known and little_known ; <end>") == (2, 2)
    assert counted("kind kind_war ; fame : well_known ;") == (1, 2)
    assert counted("kind : kind_war ; kind : kind_horror ;") == (1, 2)
    assert counted("kind : low_made_in ;") == (0, 1)
    assert counted("kind : kind_war") == (0, 1)
    assert counted("<end>") == (0, 1)


def test_free_texts_are_the_same_for_the_same_seed(taught: Path) -> None:
    model = open_model(taught)
    examples = encode_pairs(planted_pairs(8), model.token_ids, 500).usable
    prompts = [example.prompt_ids for example in examples]
    shares = [well_formed_share(model, prompts, 0.5, seed) for seed in (0, 0)]
    assert shares[0] == shares[1]
    assert 0 <= shares[0] <= 1


def test_pairs_that_neither_can_read_are_told(taught: Path) -> None:
    with pytest.raises(InputError, match="no pair can be used"):
        judge(short_pairs(2), taught, taught)
