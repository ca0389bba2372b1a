"""The network's forward pass, computing of it what is asked for and nothing else.

What a prompt's last mark says is all that a ranking needs, so the second block is computed at
single places: that is a third less work than the whole network. The numbers are those of
``GPT2LMHeadModel`` but for the last bits; a test holds them together.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Block


def blocks(network: GPT2LMHeadModel) -> tuple[GPT2Block, GPT2Block]:
    """The gathering block and the choosing block."""
    gathering, choosing = network.transformer.h
    return cast(GPT2Block, gathering), cast(GPT2Block, choosing)


def gather(network: GPT2LMHeadModel, tokens: Tensor, positions: Tensor) -> Tensor:
    """What the first block makes of tokens at positions.

    Args:
        network: The network.
        tokens: Token ids, padded behind, ``[count, length]``.
        positions: Position of each, ``[length]`` or ``[count, length]``.

    Returns:
        Shape ``[count, length, WIDTH]``.
    """
    block = blocks(network)[0]
    hidden = _embedded(network, tokens, positions)
    query, key, value = _projected(block, hidden)
    return _finished(block, hidden, _attended(block, query, key, value, _causal(tokens.shape[1])))


def choose(network: GPT2LMHeadModel, gathered: Tensor, at: Tensor) -> Tensor:
    """What the second block says at some places.

    Args:
        network: The network.
        gathered: From ``gather``, ``[count, length, WIDTH]``.
        at: Places, ``[count, num_places]``.

    Returns:
        Shape ``[count, num_places, WIDTH]``, before the last normalisation.
    """
    block = blocks(network)[1]
    here = gathered.gather(1, at[..., None].expand(-1, -1, gathered.shape[2]))
    key, value = _keys_and_values(block, gathered)
    mask = _hiding_behind(at, gathered.shape[1])
    return _finished(block, here, _attended(block, _queries(block, here), key, value, mask))


def last_states(network: GPT2LMHeadModel, tokens: Tensor, last: Tensor) -> Tensor:
    """Normalised states of each row's last token, ``[count, WIDTH]``.

    Args:
        network: The network.
        tokens: Token ids, padded behind, ``[count, length]``.
        last: Place of each row's last token, ``[count]``.
    """
    gathered = gather(network, tokens, torch.arange(tokens.shape[1]))
    states: Tensor = network.transformer.ln_f(choose(network, gathered, last[:, None])[:, 0])
    return states


def last_states_behind(
    network: GPT2LMHeadModel, beginnings: Tensor, owners: Tensor, tokens: Tensor, last: Tensor
) -> Tensor:
    """As ``last_states`` for rows many of which begin alike: each beginning is read once.

    Args:
        network: The network.
        beginnings: Token ids, ``[num_beginnings, beginning_length]``.
        owners: Which beginning each row has, ``[count]``.
        tokens: How each row goes on, padded behind, ``[count, length]``.
        last: Place of each row's last token in ``tokens``, ``[count]``.
    """
    gathering, choosing = blocks(network)
    begun, length = beginnings.shape[1], tokens.shape[1]
    first = _embedded(network, beginnings, torch.arange(begun))
    query, first_key, first_value = _projected(gathering, first)
    causal = _causal(begun + length)
    first = _finished(
        gathering,
        first,
        _attended(gathering, query, first_key, first_value, causal[:, :begun, :begun]),
    )
    behind = _embedded(network, tokens, torch.arange(begun, begun + length))
    query, key, value = _projected(gathering, behind)
    key = torch.cat([first_key[owners], key], dim=1)
    value = torch.cat([first_value[owners], value], dim=1)
    behind = _finished(
        gathering, behind, _attended(gathering, query, key, value, causal[:, begun:])
    )

    first_key, first_value = _keys_and_values(choosing, first)
    key, value = _keys_and_values(choosing, behind)
    key = torch.cat([first_key[owners], key], dim=1)
    value = torch.cat([first_value[owners], value], dim=1)
    here = behind[torch.arange(len(tokens)), last][:, None]
    mask = _hiding_behind(begun + last[:, None], begun + length)
    chosen = _finished(
        choosing, here, _attended(choosing, _queries(choosing, here), key, value, mask)
    )
    states: Tensor = network.transformer.ln_f(chosen[:, 0])
    return states


def _embedded(network: GPT2LMHeadModel, tokens: Tensor, positions: Tensor) -> Tensor:
    embedded: Tensor = network.transformer.wte(tokens) + network.transformer.wpe(positions)
    return embedded


def _projected(block: GPT2Block, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each ``[count, length, WIDTH]``."""
    query, key, value = block.attn.c_attn(block.ln_1(hidden)).chunk(3, dim=-1)
    return query, key, value


def _queries(block: GPT2Block, hidden: Tensor) -> Tensor:
    joint, width = block.attn.c_attn, hidden.shape[-1]
    queries: Tensor = block.ln_1(hidden) @ joint.weight[:, :width] + joint.bias[:width]
    return queries


def _keys_and_values(block: GPT2Block, hidden: Tensor) -> tuple[Tensor, Tensor]:
    joint, width = block.attn.c_attn, hidden.shape[-1]
    both = torch.addmm(
        joint.bias[width:], block.ln_1(hidden).flatten(0, 1), joint.weight[:, width:]
    )
    key, value = both.view(*hidden.shape[:2], -1).chunk(2, dim=-1)
    return key, value


def _causal(length: int) -> Tensor:
    """What is added to attention, ``[1, length, length]``: a place sees none behind it."""
    return torch.full((1, length, length), -torch.inf).triu(1)


def _hiding_behind(at: Tensor, length: int) -> Tensor:
    """As ``_causal`` for some places only, ``[count, num_places, length]``."""
    hidden = torch.arange(length) > at[..., None]
    return torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)


def _attended(block: GPT2Block, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention head by head: on rows of this length quicker than kernels that fuse it all."""
    width = query.shape[2] // block.attn.num_heads
    heads = []
    split = [torch.split(part, width, dim=2) for part in (query, key, value)]
    for q, k, v in zip(*split, strict=True):
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(width))
        heads.append(scores.softmax(dim=-1) @ v)
    return torch.cat(heads, dim=2)


def _finished(block: GPT2Block, hidden: Tensor, attended: Tensor) -> Tensor:
    """The rest of a block: its output projection and its feed-forward layers."""
    hidden = hidden + block.attn.c_proj(attended)
    mlp = block.mlp
    finished: Tensor = hidden + mlp.c_proj(mlp.act(mlp.c_fc(block.ln_2(hidden))))
    return finished
