"""The embedded model's network: a small Llama whose item embeddings start from the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrec.data.item_features import Floats, ItemFeatures
from agentrec.llm.catalog_lm.aspects import Aspect
from agentrec.llm.catalog_lm.vocabulary import END, PAD, Vocabulary

# At 1 the output layer could not tell items apart as sharply as the rule does.
ITEM_NORM = 2.0


@dataclass(frozen=True)
class NetworkSize:
    """Size of the network.

    Attributes:
        width: Embedding dimension.
        layers: Number of transformer blocks.
        heads: Attention heads a block.
        feed_forward: Inner dimension of the gated feed-forward part.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 384


def build_network(
    vocabulary: Vocabulary,
    features: ItemFeatures,
    aspects: Sequence[Aspect],
    size: NetworkSize,
    seed: int,
) -> LlamaForCausalLM:
    """Make an untrained network.

    Item embeddings, tied to the output layer, start as the items' features: then likeness is a
    dot product from the first step on, and training has to learn what to weigh, not what the
    items are. A phrase that hints ask for starts as the direction of the items that have it.

    Args:
        vocabulary: The tokens.
        features: The catalogue's features.
        aspects: What hints can ask for.
        size: Size of the network.
        seed: Seed of the initialisation.
    """
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=vocabulary.ids[PAD],
        bos_token_id=None,
        eos_token_id=vocabulary.ids[END],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
    with torch.no_grad():
        vectors = torch.from_numpy(_initial_vectors(features, size.width))
        table = network.model.embed_tokens.weight
        table[vocabulary.first_item :] = vectors
        for aspect in aspects:
            direction = torch.from_numpy(aspect.scores) @ vectors
            phrase = ITEM_NORM * direction / direction.norm().clamp(min=1e-6)
            table[vocabulary.ids[aspect.token]] = phrase
    return network


def _initial_vectors(features: ItemFeatures, width: int) -> Floats:
    """Features squeezed into the embedding: numbers, categories and text side by side.

    Numbers and categories get as many columns as they have, up to a share; text, which loses
    most by squeezing, gets the rest but for a few columns that are left to learning.
    """
    groups = [
        ([number.vectors for number in features.numbers], width // 4),
        ([category.vectors for category in features.categories], width // 5),
        ([features.text], width),
    ]
    present = [(np.concatenate(group, axis=1), share) for group, share in groups if group]
    columns = np.zeros((len(features.text), width), dtype=np.float32)
    start, end = 0, width - width // 16
    for block, share in present:
        squeezed = _principal(block, min(share, end - start))
        squeezed /= max(float(np.linalg.norm(squeezed, axis=1).mean()), 1e-6)
        columns[:, start : start + squeezed.shape[1]] = squeezed
        start += squeezed.shape[1]
    return columns * np.float32(ITEM_NORM / np.sqrt(len(present)))


def _principal(block: Floats, limit: int) -> Floats:
    centred = block - block.mean(axis=0)
    _, _, directions = np.linalg.svd(centred[: 4000 if len(centred) > 4000 else None], False)
    return np.asarray(centred @ directions[:limit].T, dtype=np.float32)
