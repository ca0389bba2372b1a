"""The embedded model's initial weights: a small GPT-2 wired to rank by its items' features.

The hidden dimensions are divided into item features, handles (names of candidates) and flags.
In the first of two blocks, the mark before an answer collects what the history is about and what a
hint asks for. In the second, one head compares that with the candidates and copies the handles of
those that fit; the other subtracts the handles already named. Training learns what to weigh; it
need not discover that there is a list to choose from.

Item embeddings start as the items' features, and phrases as the direction of the items that have
them. A handle is a direction orthogonal to all others; the position embedding of its index in the
candidate list shares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from agentrec.data.item_features import Floats, ItemFeatures
from agentrec.embedded_model.aspects import Aspect
from agentrec.embedded_model.forward import blocks
from agentrec.embedded_model.vocabulary import (
    ANSWER,
    CANDIDATES_AT,
    END,
    HISTORY_AT,
    MAX_CANDIDATES,
    NONE,
    PAD,
    SAY,
    SPECIAL,
    Vocabulary,
)
from agentrec.llm.prompts.session_view import HISTORY_LENGTH

HANDLE_DIMENSIONS = 104
"""Room for 100 handles orthogonal to one another and to the vector of ones."""

NUM_FLAGS = 8
FEATURE_DIMENSIONS = HANDLE_DIMENSIONS - NUM_FLAGS
WIDTH = FEATURE_DIMENSIONS + HANDLE_DIMENSIONS + NUM_FLAGS

FEATURES = slice(0, FEATURE_DIMENSIONS)
HANDLES = slice(FEATURE_DIMENSIONS, FEATURE_DIMENSIONS + HANDLE_DIMENSIONS)
_FLAGS = FEATURE_DIMENSIONS + HANDLE_DIMENSIONS
IS_ITEM, IS_HANDLE, IS_PHRASE, IS_HISTORY, RECENCY, IS_START, IS_WORD, FILLER = range(
    _FLAGS, _FLAGS + NUM_FLAGS
)

_PROPERTY_SHARE = 40
_CATEGORY_SHARE = 16
_MAX_LENGTH = 1.5
"""Most length of an item in one block, in root mean squares: otherwise an item with a rare value
would make all others look alike."""

HEADS = 2
HEAD = WIDTH // HEADS
FEED_FORWARD = 192
MAX_POSITIONS = 320
_LENGTH = 2.0
"""Length of an item's, a phrase's and a handle's embedding."""
_POSITION_LENGTH = 0.3
"""Length of the handle in a position embedding. The mark before an answer has a position too, after
the candidates, and must not name that position's handle for this reason alone."""

# Key and query dimensions of a head that hold flags instead of features.
_MATCH, _TIME, _HOLD, _TALK, _BAR = HEAD - 8, HEAD - 7, HEAD - 6, HEAD - 5, HEAD - 1


@dataclass(frozen=True)
class ItemColumns:
    """Items as columns of the feature subspace.

    Attributes:
        vectors: Features of each item, at most 1 long, ``[num_items, FEATURE_DIMENSIONS]``.
        filler: What each lacks to a length of 1, so that normalisation treats all alike,
            ``[num_items]``.
        content: Columns of what items are about, as opposed to properties that only hints ask
            for.
        phrases: For each aspect the vector whose dot product with an item measures how much of
            it the item has, of mean length 1, ``[num_aspects, FEATURE_DIMENSIONS]``.
    """

    vectors: Floats
    filler: Floats
    content: tuple[int, ...]
    phrases: Floats


def item_columns(features: ItemFeatures, aspects: Sequence[Aspect]) -> ItemColumns:
    """Project a catalogue's features into the subspace: properties, categories, text."""
    blocks: list[Floats] = []
    if features.categories:
        properties = np.stack([aspect.scores for aspect in aspects], axis=1) if aspects else None
        categories = np.concatenate([c.vectors for c in features.categories], axis=1)
        if properties is not None:
            blocks.append(_principal_components(properties, _PROPERTY_SHARE))
        about = sum(block.shape[1] for block in blocks)
        blocks.append(_principal_components(categories, _CATEGORY_SHARE))
    else:
        if features.numbers:
            numbers = np.concatenate([n.vectors for n in features.numbers], axis=1)
            blocks.append(_principal_components(numbers, _CATEGORY_SHARE))
        about = sum(block.shape[1] for block in blocks)
    taken = sum(block.shape[1] for block in blocks)
    blocks.append(_principal_components(features.text, FEATURE_DIMENSIONS - taken))
    scaled = [_normalise_block(block) for block in blocks]
    vectors = np.zeros((len(features.text), FEATURE_DIMENSIONS), dtype=np.float32)
    joined = np.concatenate(scaled, axis=1)
    vectors[:, : joined.shape[1]] = joined
    vectors /= max(float(np.linalg.norm(vectors, axis=1).max()), 1e-6)
    filler = np.sqrt(np.clip(1 - (vectors**2).sum(axis=1), 0, None))
    return ItemColumns(
        vectors=vectors,
        filler=np.asarray(filler, dtype=np.float32),
        content=tuple(range(about, joined.shape[1])),
        phrases=_phrases(vectors, aspects),
    )


def handle_codes(count: int, seed: int) -> Floats:
    """Draw unit vectors orthogonal to one another and to the vector of ones.

    Orthogonality to ones keeps them unchanged when a layer subtracts the mean of its input.

    Args:
        count: How many, below ``HANDLE_DIMENSIONS``.
        seed: Seed of the draw.

    Returns:
        Shape ``[count, HANDLE_DIMENSIONS]``.
    """
    drawn = np.random.default_rng(seed).normal(size=(HANDLE_DIMENSIONS, HANDLE_DIMENSIONS))
    drawn[:, 0] = 1.0
    orthogonal, _ = np.linalg.qr(drawn)
    return np.ascontiguousarray(orthogonal[:, 1 : count + 1].T, dtype=np.float32)


def _phrases(vectors: Floats, aspects: Sequence[Aspect]) -> Floats:
    """Regress each aspect's scores on the items' columns, with a ridge penalty."""
    if not aspects:
        return np.zeros((0, FEATURE_DIMENSIONS), dtype=np.float32)
    scores = np.stack([aspect.scores for aspect in aspects], axis=1).astype(np.float64)
    columns = vectors.astype(np.float64)
    gram: npt.NDArray[np.float64] = columns.T @ columns / len(columns)
    ridge = 1e-3 * np.trace(gram) / FEATURE_DIMENSIONS
    solved = np.linalg.solve(
        gram + ridge * np.eye(FEATURE_DIMENSIONS), columns.T @ scores / len(columns)
    ).T
    length = max(float(np.linalg.norm(solved, axis=1).mean()), 1e-6)
    return np.asarray(solved / length, dtype=np.float32)


def _normalise_block(block: Floats) -> Floats:
    """Scale a block to a root mean square length of 1, no row longer than ``_MAX_LENGTH``."""
    unit = max(float(np.sqrt((block**2).sum(axis=1).mean())), 1e-6)
    lengths = np.linalg.norm(block, axis=1, keepdims=True) / unit
    return np.asarray(block / unit / np.maximum(lengths / _MAX_LENGTH, 1.0), dtype=np.float32)


def _principal_components(block: Floats, limit: int) -> Floats:
    centred = block - block.mean(axis=0)
    _, _, directions = np.linalg.svd(centred[: 4000 if len(centred) > 4000 else None], False)
    return np.asarray(centred @ directions[:limit].T, dtype=np.float32)


def build_network(
    vocabulary: Vocabulary, features: ItemFeatures, aspects: Sequence[Aspect], seed: int
) -> GPT2LMHeadModel:
    """Build an untrained network.

    Args:
        vocabulary: The tokens.
        features: The catalogue's features.
        aspects: What hints can ask for.
        seed: Seed of the initialisation.
    """
    config = GPT2Config(
        vocab_size=vocabulary.size,
        n_positions=MAX_POSITIONS,
        n_embd=WIDTH,
        n_layer=2,
        n_head=HEADS,
        n_inner=FEED_FORWARD,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.01,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=vocabulary.ids[END],
        pad_token_id=vocabulary.ids[PAD],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GPT2LMHeadModel(config)
        with torch.no_grad():
            network.transformer.wte.weight.normal_(0, 0.05)
            network.transformer.wpe.weight.normal_(0, 0.002)
    columns = item_columns(features, aspects)
    with torch.no_grad():
        _embed(network, vocabulary, columns, seed)
        table = network.transformer.wte.weight
        for aspect, phrase in zip(aspects, columns.phrases, strict=True):
            row = table[vocabulary.ids[aspect.token]]
            row.zero_()
            row[FEATURES] = _LENGTH * torch.from_numpy(phrase)
            row[[IS_PHRASE, IS_WORD, RECENCY]] = 1
        _wire_gathering(network, columns.content)
        _wire_choosing(network)
    return network


def _embed(
    network: GPT2LMHeadModel, vocabulary: Vocabulary, columns: ItemColumns, seed: int
) -> None:
    tokens, positions = network.transformer.wte.weight, network.transformer.wpe.weight
    first_handle, first_item = vocabulary.first_handle, vocabulary.first_item
    codes = torch.from_numpy(handle_codes(MAX_CANDIDATES, seed))
    tokens[:first_handle, HANDLES] = 0
    tokens[:first_handle, IS_WORD] = 1
    tokens[vocabulary.ids["<rank>"], IS_START] = 1
    # The marks of a ranking have no content of their own, or every list would lean to some items;
    # an empty slot of the history is no history.
    tokens[: len(SPECIAL), FEATURES] *= 0.2
    for mark in ("<rank>", ANSWER, NONE):
        tokens[vocabulary.ids[mark], FEATURES] = 0
    tokens[vocabulary.ids[NONE], IS_HISTORY] = -1
    # Distinguishes words of a text, and the mark before it, from the marks of a ranking.
    tokens[len(SPECIAL) : first_handle, RECENCY] = 1
    tokens[vocabulary.ids[SAY], RECENCY] = 1
    tokens[first_handle:] = 0
    tokens[first_handle:first_item, HANDLES] = _LENGTH * codes
    tokens[first_handle:first_item, IS_HANDLE] = 1
    tokens[first_item:, FEATURES] = _LENGTH * torch.from_numpy(columns.vectors)
    tokens[first_item:, FILLER] = _LENGTH * torch.from_numpy(columns.filler)
    tokens[first_item:, IS_ITEM] = 1
    slots = slice(HISTORY_AT, HISTORY_AT + HISTORY_LENGTH)
    positions[slots, IS_HISTORY] = 1
    positions[slots, RECENCY] = torch.linspace(-1, 1, HISTORY_LENGTH)
    # A position in the list is its handle and nothing else; no other position has a handle.
    positions[:, HANDLES] = 0
    listed = slice(CANDIDATES_AT, CANDIDATES_AT + MAX_CANDIDATES)
    positions[listed] = 0
    positions[listed, HANDLES] = _POSITION_LENGTH * codes


def _wire_gathering(network: GPT2LMHeadModel, content: Sequence[int]) -> None:
    """Wire the first block: head 0 attends to the history, head 1 to phrases; items to neither."""
    block = blocks(network)[0]
    attention = block.attn
    weight, bias = attention.c_attn.weight, attention.c_attn.bias
    # Random weights must stay small beside the wired ones, or each item gets a bias of its own.
    weight.mul_(0.1)
    attention.c_proj.weight.mul_(0.1)
    _diagonal(_columns_of_head(weight, "value", 0), content, content, 0.5)
    _diagonal(attention.c_proj.weight[:HEAD], content, content, 1.0)
    everything = range(FEATURE_DIMENSIONS)
    _diagonal(_columns_of_head(weight, "value", 1), everything, everything, 0.5)
    _diagonal(attention.c_proj.weight[HEAD:], everything, everything, 3.0)
    for head, (flag, strength) in enumerate(((IS_HISTORY, 1.5), (IS_PHRASE, 2.3))):
        _columns_of_head(weight, "key", head)[flag, _MATCH] += strength
        _columns_of_head(weight, "query", head)[IS_ITEM, _MATCH] -= 1.0
        bias[head * HEAD + _MATCH] = 6.0
        # Items attend to the prompt's first mark, which has no content, and so stay unchanged.
        _columns_of_head(weight, "query", head)[IS_ITEM, _HOLD] += 1.5
        _columns_of_head(weight, "key", head)[IS_START, _HOLD] += 1.0
    # The second head mostly attends to the prompt's first mark, which has no content: so each
    # phrase counts about as much however many there are.
    _columns_of_head(weight, "key", 1)[IS_START, _MATCH] += 1.5
    # Words are about the target, where there is one, else about the slots.
    _columns_of_head(weight, "query", 1)[RECENCY, _TALK] += 1.0
    _columns_of_head(weight, "key", 1)[IS_ITEM, _TALK] += 4.0
    _columns_of_head(weight, "key", 1)[IS_HISTORY, _TALK] -= 1.0
    _columns_of_head(weight, "key", 0)[RECENCY, _TIME] += 1.0
    bias[_TIME] = 1.0
    # This block ignores handles.
    weight[HANDLES] = 0
    block.mlp.c_fc.weight[HANDLES] = 0
    for layer in (attention.c_proj, block.mlp.c_proj):
        layer.weight[:, HANDLES] = 0
        layer.bias[HANDLES] = 0


def _wire_choosing(network: GPT2LMHeadModel) -> None:
    """Wire the second block: head 0 copies handles of fitting items, head 1 bars named ones."""
    block = blocks(network)[1]
    weight, bias = block.attn.c_attn.weight, block.attn.c_attn.bias
    weight.zero_()
    block.attn.c_proj.weight.zero_()
    features = range(FEATURE_DIMENSIONS)
    handles, codes = range(HANDLES.start, HANDLES.stop), range(HEAD)
    _diagonal(_columns_of_head(weight, "query", 0), features, features, 0.5)
    _diagonal(_columns_of_head(weight, "key", 0), features, features, 0.5)
    for flag in (IS_HANDLE, IS_HISTORY, IS_WORD):
        _columns_of_head(weight, "key", 0)[flag, _BAR] -= 1.0
    bias[_BAR] = 8.0
    _diagonal(_columns_of_head(weight, "value", 0), handles, codes, 1.0 / _POSITION_LENGTH)
    _diagonal(block.attn.c_proj.weight[:HEAD], codes, handles, 5.0)
    # The prompt's first mark takes the attention that handles leave, so that each handle counts
    # about as much however many there are.
    _columns_of_head(weight, "key", 1)[IS_HANDLE, _BAR] += 1.0
    _columns_of_head(weight, "key", 1)[IS_START, _BAR] += 1.0
    bias[HEAD + _BAR] = 10.0
    _diagonal(_columns_of_head(weight, "value", 1), handles, codes, 1.0)
    _diagonal(block.attn.c_proj.weight[HEAD:], codes, handles, -8.0)
    block.mlp.c_proj.weight.mul_(0.1)
    block.mlp.c_proj.weight[:, HANDLES] = 0
    block.mlp.c_fc.weight[HANDLES] = 0
    # An answer begins with a handle, not with a word or an item.
    block.mlp.c_proj.bias[IS_WORD] = -8.0
    block.mlp.c_proj.bias[IS_ITEM] = -8.0


def _columns_of_head(weight: Tensor, role: str, head: int) -> Tensor:
    """Return a head's columns of the joint projection, ``[WIDTH, HEAD]``."""
    start = ("query", "key", "value").index(role) * WIDTH + head * HEAD
    return weight[:, start : start + HEAD]


def _diagonal(matrix: Tensor, rows: Iterable[int], columns: Iterable[int], value: float) -> None:
    for row, column in zip(rows, columns, strict=True):
        matrix[row, column] += value
