"""Keeping handles interchangeable, and items what they are, while the embedded model is trained.

A handle means nothing but its place in a list that is shuffled anyway. So nothing is learnt about
any single one: gradients on handle dimensions are taken off, or, where they only scale all
handles alike, made the same for all. Items are their features; how those are weighed is learnt in
the layers that read them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.network.forward import blocks
from agentrec.embedded_model.network.network import HEAD, HEADS
from agentrec.embedded_model.network.subspaces import HANDLES, WIDTH
from agentrec.embedded_model.network.vocabulary import MAX_CANDIDATES


def symmetric_gradients(network: GPT2LMHeadModel, first_item: int) -> None:
    """Change the gradients after a backward pass so that a step treats all handles alike.

    Args:
        network: The network.
        first_item: Token id of the first item; from there on nothing is changed.
    """
    body = network.transformer
    body.wpe.weight.grad = None
    _bar(body.wte.weight.grad, (slice(None), HANDLES))
    _bar(body.wte.weight.grad, (slice(first_item, None),))
    gathering, choosing = blocks(network)
    for layer in (gathering.attn.c_proj, gathering.mlp.c_proj, choosing.mlp.c_proj):
        _bar(layer.weight.grad, (slice(None), HANDLES))
        _bar(layer.bias.grad, (HANDLES,))
    for layer in (gathering.mlp.c_fc, choosing.mlp.c_fc):
        _bar(layer.weight.grad, (HANDLES,))
    # Where the gathering block looks may hang on places: a text has to know what comes next.
    _bar(gathering.attn.c_attn.weight.grad, (HANDLES, slice(2 * WIDTH, None)))
    # What is looked at does not hang on the handle it has.
    _bar(choosing.attn.c_attn.weight.grad, (HANDLES, slice(0, 2 * WIDTH)))
    if body.wte.weight.grad is not None:
        named = body.wte.weight.grad[first_item - MAX_CANDIDATES : first_item]
        named.copy_(named.mean(dim=0, keepdim=True).expand_as(named))
    joint, out = choosing.attn.c_attn, choosing.attn.c_proj
    if joint.weight.grad is not None:
        _bar(joint.bias.grad, (slice(2 * WIDTH, None),))
        values = joint.weight.grad[:, 2 * WIDTH :]
        kept = torch.zeros_like(values)
        for head in range(HEADS):
            columns = slice(head * HEAD, (head + 1) * HEAD)
            _keep_scale(kept[HANDLES, columns], values[HANDLES, columns])
        values.copy_(kept)
    if out.weight.grad is not None:
        kept = torch.zeros_like(out.weight.grad)
        for head in range(HEADS):
            rows = slice(head * HEAD, (head + 1) * HEAD)
            _keep_scale(kept[rows, HANDLES], out.weight.grad[rows, HANDLES])
        out.weight.grad.copy_(kept)
        _bar(out.bias.grad, (HANDLES,))
    for norm in (choosing.ln_1, choosing.ln_2, body.ln_f):
        if norm.weight.grad is not None:
            norm.weight.grad[HANDLES] = norm.weight.grad[HANDLES].mean()
            _bar(norm.bias.grad, (HANDLES,))


def _bar(gradient: Tensor | None, where: tuple[slice, ...]) -> None:
    if gradient is not None:
        gradient[where] = 0


def _keep_scale(kept: Tensor, gradient: Tensor) -> None:
    """Keep of a square of gradients what changes all its diagonal alike."""
    kept.diagonal().fill_(float(gradient.diagonal().mean()))
