"""The network's forward pass, limited to the positions that are needed.

A ranking needs the state of a prompt's last mark alone, so the second block is computed at single
positions: a third less work than the whole network. The results equal those of
``GPT2LMHeadModel`` but for the last bits.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Block


def blocks(network: GPT2LMHeadModel) -> tuple[GPT2Block, GPT2Block]:
    """Return the gathering block and the choosing block."""
    gathering, choosing = network.transformer.h
    return cast(GPT2Block, gathering), cast(GPT2Block, choosing)


def gather(network: GPT2LMHeadModel, tokens: Tensor, positions: Tensor) -> Tensor:
    """Compute the first block.

    Args:
        network: The network.
        tokens: Token ids, padded at the end, ``[count, length]``.
        positions: Position of each, ``[length]`` or ``[count, length]``.

    Returns:
        Shape ``[count, length, WIDTH]``.
    """
    block = blocks(network)[0]
    hidden = _embedded(network, tokens, positions)
    query, key, value = _projected(block, hidden)
    return _block_output(
        block, hidden, _attention_heads(block, query, key, value, _causal(tokens.shape[1]))
    )


def choose(network: GPT2LMHeadModel, gathered: Tensor, at: Tensor) -> Tensor:
    """Compute the second block at some positions of each row.

    Args:
        network: The network.
        gathered: From ``gather``, ``[count, length, WIDTH]``.
        at: Indices into the rows, ``[count, num_positions]``.

    Returns:
        Shape ``[count, num_positions, WIDTH]``, before the last normalisation.
    """
    block = blocks(network)[1]
    here = gathered.gather(1, at[..., None].expand(-1, -1, gathered.shape[2]))
    key, value = _keys_and_values(block, gathered)
    mask = _mask_after(at, gathered.shape[1])
    return _block_output(
        block, here, _attention_heads(block, _queries(block, here), key, value, mask)
    )


def last_states(network: GPT2LMHeadModel, tokens: Tensor, last: Tensor) -> Tensor:
    """Compute the normalised states of each row's last token, ``[count, WIDTH]``.

    Args:
        network: The network.
        tokens: Token ids, padded at the end, ``[count, length]``.
        last: Index of each row's last token, ``[count]``.
    """
    gathered = gather(network, tokens, torch.arange(tokens.shape[1]))
    states: Tensor = network.transformer.ln_f(choose(network, gathered, last[:, None])[:, 0])
    return states


def last_states_with_shared_prefixes(
    network: GPT2LMHeadModel, prefixes: Tensor, owners: Tensor, tokens: Tensor, last: Tensor
) -> Tensor:
    """Compute ``last_states`` of rows that share prefixes, each prefix once.

    Args:
        network: The network.
        prefixes: Token ids, ``[num_prefixes, prefix_length]``.
        owners: Index of each row's prefix, ``[count]``.
        tokens: The rest of each row, padded at the end, ``[count, length]``.
        last: Index of each row's last token in ``tokens``, ``[count]``.
    """
    gathering, choosing = blocks(network)
    start, length = prefixes.shape[1], tokens.shape[1]
    first = _embedded(network, prefixes, torch.arange(start))
    query, first_key, first_value = _projected(gathering, first)
    causal = _causal(start + length)
    first = _block_output(
        gathering,
        first,
        _attention_heads(gathering, query, first_key, first_value, causal[:, :start, :start]),
    )
    rest = _embedded(network, tokens, torch.arange(start, start + length))
    query, key, value = _projected(gathering, rest)
    key = torch.cat([first_key[owners], key], dim=1)
    value = torch.cat([first_value[owners], value], dim=1)
    rest = _block_output(
        gathering, rest, _attention_heads(gathering, query, key, value, causal[:, start:])
    )

    first_key, first_value = _keys_and_values(choosing, first)
    key, value = _keys_and_values(choosing, rest)
    key = torch.cat([first_key[owners], key], dim=1)
    value = torch.cat([first_value[owners], value], dim=1)
    here = rest[torch.arange(len(tokens)), last][:, None]
    mask = _mask_after(start + last[:, None], start + length)
    chosen = _block_output(
        choosing, here, _attention_heads(choosing, _queries(choosing, here), key, value, mask)
    )
    states: Tensor = network.transformer.ln_f(chosen[:, 0])
    return states


def _embedded(network: GPT2LMHeadModel, tokens: Tensor, positions: Tensor) -> Tensor:
    embedded: Tensor = network.transformer.wte(tokens) + network.transformer.wpe(positions)
    return embedded


def _projected(block: GPT2Block, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, each ``[count, length, WIDTH]``."""
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
    """Return the causal mask to add to attention scores, ``[1, length, length]``."""
    return torch.full((1, length, length), -torch.inf).triu(1)


def _mask_after(at: Tensor, length: int) -> Tensor:
    """Return the causal mask for some positions only, ``[count, num_positions, length]``."""
    hidden = torch.arange(length) > at[..., None]
    return torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)


def _attention_heads(
    block: GPT2Block, query: Tensor, key: Tensor, value: Tensor, mask: Tensor
) -> Tensor:
    """Compute attention head by head: faster than fused kernels on rows of this length."""
    width = query.shape[2] // block.attn.num_heads
    heads = []
    split = [torch.split(part, width, dim=2) for part in (query, key, value)]
    for q, k, v in zip(*split, strict=True):
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(width))
        heads.append(scores.softmax(dim=-1) @ v)
    return torch.cat(heads, dim=2)


def _block_output(block: GPT2Block, hidden: Tensor, attended: Tensor) -> Tensor:
    """Compute the rest of a block: output projection and feed-forward layers."""
    hidden = hidden + block.attn.c_proj(attended)
    mlp = block.mlp
    finished: Tensor = hidden + mlp.c_proj(mlp.act(mlp.c_fc(block.ln_2(hidden))))
    return finished
