"""A small embedded model, preference pairs with a planted taste, and a tiny ordinary model."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from embedded_model import planted
from embedded_model.planted import Planted
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agentrec.embedded_model.folder import CatalogModel, save_model
from agentrec.embedded_model.teaching.training import TrainingPlan
from agentrec.llm.quiet_transformers import no_progress_bars
from agentrec.preferences import ChatTurn, PairProvenance, PreferencePair, PreferenceReward

LIKED, DISLIKED = "made in: low made in", "made in: high made in"
"""What every chosen and every rejected text says of one factor; the other lines are alike."""

PLAN = TrainingPlan(
    steps=20,
    batch_size=16,
    list_every=1000,
    text_every=1,
    learning_rate=5e-3,
    attention_factor=1.0,
    lists=1,
    list_size=4,
)
_ROLES = {"system": "system", "human": "user"}
_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@cache
def world() -> Planted:
    return planted.films()


@cache
def _taught() -> CatalogModel:
    with TemporaryDirectory() as scratch:
        return world().trained(Path(scratch), PLAN)[0]


def save_taught(folder: Path) -> Path:
    """Write a model of the world that was taught, once a process, to write a little."""
    save_model(_taught(), "# taught\n", folder)
    return folder


def planted_pairs(count: int, start: int = 0, *, shuffled: bool = False) -> list[PreferencePair]:
    """Pairs of as many sessions; shuffled, half of them have the texts the wrong way round."""
    rng = random.Random(start)
    wrong = set(rng.sample(range(start, start + count), count // 2)) if shuffled else set()
    phrases = [aspect for aspect in world().aspects if aspect.factor == "kind"]
    pairs = []
    for session in range(start, start + count):
        other = f"kind: {rng.choice(phrases).phrase.removeprefix('kind ')}"
        before = rng.random() < 0.5
        texts = ["\n".join([one, other] if before else [other, one]) for one in (LIKED, DISLIKED)]
        if session in wrong:
            texts.reverse()
        pairs.append(pair_of(session, *texts))
    return pairs


def pair_of(session: int, chosen: str, rejected: str) -> PreferencePair:
    asked = planted.text_prompt("preference", world(), world().session(session))
    return PreferencePair(
        session_id=f"s{session}",
        prompt=tuple(
            ChatTurn.model_validate({"role": _ROLES[message.type], "content": message.text})
            for message in asked
        ),
        chosen=chosen,
        rejected=rejected,
        chosen_reward=PreferenceReward(value=0.5),
        rejected_reward=PreferenceReward(value=0.25),
        provenance=PairProvenance(model="planted"),
    )


def save_tiny_llama(folder: Path, *, template: bool = True) -> Path:
    """An untrained Llama over bytes, as a folder with a chat template."""
    marks = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(BPE({token: at for at, token in enumerate(bytes_)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(marks)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=marks[0], pad_token=marks[1]
    )
    if template:
        tokenizer.chat_template = _TEMPLATE
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=2048,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=None,
            )
        )
    with no_progress_bars():
        network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def short_pairs(count: int) -> list[PreferencePair]:
    """Pairs that a byte model reads fast."""
    return [
        PreferencePair(
            session_id=f"s{n}",
            user_id=f"u{n // 2}",
            prompt=(
                ChatTurn(role="system", content="Be brief."),
                ChatTurn(role="user", content=f"What does user {n} like?"),
            ),
            chosen="kind: comedy",
            rejected="kind: war",
            chosen_reward=PreferenceReward(value=0.5),
            rejected_reward=PreferenceReward(value=0.25),
            provenance=PairProvenance(model="planted"),
        )
        for n in range(count)
    ]
