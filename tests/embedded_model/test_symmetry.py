"""Handles mean nothing but indices: what is learnt of one is learnt of all."""

from __future__ import annotations

import random

import pytest
import torch
from embedded_model.planted import Planted
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.forward import blocks
from agentrec.embedded_model.initialization import HANDLES
from agentrec.embedded_model.teaching.ranking_lessons import (
    choosing_loss,
    list_lesson,
    list_loss,
    prompt_rows,
)
from agentrec.embedded_model.teaching.training import symmetric_gradients, text_loss
from agentrec.embedded_model.vocabulary import CANDIDATES_AT, MAX_CANDIDATES

SIZE = 12


def handle_logits(
    network: GPT2LMHeadModel, planted: Planted, row: list[int], indices: list[int]
) -> torch.Tensor:
    """Logits of the handles of candidates that stand at some indices of a long list."""
    positions = torch.arange(len(row))
    positions[CANDIDATES_AT : CANDIDATES_AT + len(indices)] = CANDIDATES_AT + torch.tensor(indices)
    positions[CANDIDATES_AT + len(indices) :] += MAX_CANDIDATES - len(indices)
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([row]), position_ids=positions[None]).logits[0, -1]
    first = planted.vocabulary.first_handle
    own = logits[first : first + MAX_CANDIDATES]
    rest = own[[index for index in range(MAX_CANDIDATES) if index not in indices]]
    assert rest.max() < own[indices].max()
    return own[indices]


def prompts(planted: Planted, count: int = 6) -> list[list[int]]:
    corpus = planted.corpus()
    return prompt_rows(corpus, corpus.sample(count), corpus.distinct(count, SIZE))


def test_scores_do_not_depend_on_handles(films: Planted, taught: CatalogModel) -> None:
    rng = random.Random(0)
    for row in prompts(films):
        plain = handle_logits(taught.network, films, row, list(range(SIZE)))
        for indices in (
            list(range(40, 40 + SIZE)),
            list(range(SIZE))[::-1],
            rng.sample(range(MAX_CANDIDATES), SIZE),
        ):
            other = handle_logits(taught.network, films, row, indices)
            assert torch.allclose(plain, other, atol=0.05)
    assert float(plain.std()) > 0.3


def test_unequal_handles_would_be_found(films: Planted) -> None:
    network = films.network()
    with torch.no_grad():
        first = films.vocabulary.first_handle
        network.transformer.wte.weight[first : first + 5, HANDLES] *= 3
    row = prompts(films)[0]
    plain = handle_logits(network, films, row, list(range(SIZE)))
    other = handle_logits(network, films, row, list(range(40, 40 + SIZE)))
    assert not torch.allclose(plain, other, atol=0.05)


def test_codes_are_the_same_after_training(films: Planted, taught: CatalogModel) -> None:
    fresh, body = films.network().transformer, taught.network.transformer
    first, last = films.vocabulary.first_handle, films.vocabulary.first_item
    assert torch.equal(body.wpe.weight, fresh.wpe.weight)
    assert torch.equal(body.wte.weight[:, HANDLES], fresh.wte.weight[:, HANDLES])
    codes = body.wte.weight[first:last, HANDLES].detach().double()
    length = float(codes[0].norm())
    assert torch.allclose(codes @ codes.T, length**2 * torch.eye(100).double(), atol=1e-4)
    assert torch.allclose(codes.sum(dim=1), torch.zeros(100).double(), atol=1e-4)
    # What is not barred was taught.
    assert not torch.equal(body.wte.weight, fresh.wte.weight)


@pytest.mark.parametrize("kind", ["choosing", "list", "text"])
def test_gradients_on_handles_are_barred_or_the_same_for_all(films: Planted, kind: str) -> None:
    network, corpus = films.network(), films.corpus()
    losses = {
        "choosing": lambda: choosing_loss(network, corpus, 6, 2, 8),
        "list": lambda: list_loss(network, corpus, list_lesson(corpus, 6)),
        "text": lambda: text_loss(network, corpus, 6),
    }
    losses[kind]().backward()
    symmetric_gradients(network, films.vocabulary.first_item)
    body = network.transformer
    assert body.wpe.weight.grad is None
    assert not body.wte.weight.grad[:, HANDLES].any()
    assert body.wte.weight.grad.any()
    gathering, choosing = blocks(network)
    first, last = films.vocabulary.first_handle, films.vocabulary.first_item
    assert (body.wte.weight.grad[first:last] == body.wte.weight.grad[first]).all()
    for layer in (gathering.mlp.c_fc, choosing.mlp.c_fc):
        if layer.weight.grad is not None:
            assert not layer.weight.grad[HANDLES].any()
    for layer in (gathering.attn.c_proj, gathering.mlp.c_proj, choosing.mlp.c_proj):
        if layer.weight.grad is not None:
            assert not layer.weight.grad[:, HANDLES].any()
            assert not layer.bias.grad[HANDLES].any()
    for norm in (choosing.ln_1, choosing.ln_2, body.ln_f):
        if norm.weight.grad is not None:
            assert len(norm.weight.grad[HANDLES].unique()) == 1
            assert not norm.bias.grad[HANDLES].any()
    out = choosing.attn.c_proj.weight.grad
    if out is not None:
        for square in out[:, HANDLES].split(len(out) // 2):
            kept = square.diagonal()
            assert len(kept.unique()) == 1
            assert torch.equal(square, torch.diag_embed(kept, dim1=0, dim2=1))
