"""Training the embedded model: choosing candidates, writing lists, and texts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as functional
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import GPT2LMHeadModel

from agentrec.atomic_files import write_atomically
from agentrec.embedded_model.forward import blocks, choose, gather
from agentrec.embedded_model.initialization import HANDLES, HEAD, HEADS, WIDTH
from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.teaching.ranking_lessons import choosing_loss, list_lesson, list_loss
from agentrec.embedded_model.teaching.text_lessons import IGNORED_LABEL, text_lesson
from agentrec.embedded_model.vocabulary import MAX_CANDIDATES

CHECKPOINT_EVERY = 100
_MOMENTS = ("exp_avg", "exp_avg_sq")

OnStep = Callable[[int, int], None]
"""Called with the number of steps done and the total."""


class Checkpoint:
    """Saves network, optimiser and losses in one file, so that a training can be resumed.

    Args:
        path: The file; its name must identify the training.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(
        self, network: GPT2LMHeadModel, optimizer: torch.optim.Optimizer, losses: list[float]
    ) -> None:
        """Save the state after ``len(losses)`` steps."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in network.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            for moment, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{moment}.{name}"] = value
        write_atomically(self.path, safetensors.torch.save(tensors, {"losses": json.dumps(losses)}))

    def restore(
        self, network: GPT2LMHeadModel, optimizer: torch.optim.Optimizer, losses: list[float]
    ) -> int:
        """Restore the saved state.

        Returns:
            The number of steps done; 0, with nothing changed, where nothing usable was saved.
        """
        if not self.path.is_file():
            return 0
        try:
            with safe_open(self.path, framework="pt") as saved:
                saved_losses = [float(loss) for loss in json.loads(saved.metadata()["losses"])]
            tensors = safetensors.torch.load_file(self.path)
        except (SafetensorError, ValueError, KeyError, TypeError, OSError):
            return 0
        parameters = dict(network.named_parameters())
        if not all(_fits(tensors, name, value) for name, value in parameters.items()):
            return 0
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"network.{name}"])
                if f"optimizer.step.{name}" in tensors:
                    optimizer.state[parameter] = {
                        moment: tensors[f"optimizer.{moment}.{name}"]
                        for moment in ("step", *_MOMENTS)
                    }
        losses.extend(saved_losses)
        return len(losses)

    def discard(self) -> None:
        """Delete the file: the training is complete."""
        self.path.unlink(missing_ok=True)


def _fits(tensors: Mapping[str, torch.Tensor], name: str, parameter: torch.nn.Parameter) -> bool:
    """Return whether everything saved of a parameter is there and has its shape.

    A parameter that no step has changed yet has no optimiser state.
    """
    shapes = {f"optimizer.{moment}.{name}": parameter.shape for moment in _MOMENTS}
    shapes[f"optimizer.step.{name}"] = torch.Size([])
    saved = tensors.get(f"network.{name}")
    if saved is None or saved.shape != parameter.shape:
        return False
    found = [key for key in shapes if key in tensors]
    return not found or all(key in tensors and tensors[key].shape == shapes[key] for key in shapes)


def symmetric_gradients(network: GPT2LMHeadModel, first_item: int) -> None:
    """Change gradients after a backward pass so that a step treats all handles alike.

    A handle means only its position in a list that is shuffled anyway, so nothing is learnt about
    a single one: gradients on handle dimensions are zeroed or, where they only scale all handles
    alike, averaged. Items are their features; the layers that read them learn the weights.

    Args:
        network: The network.
        first_item: Token id of the first item; item embeddings stay as they are.
    """
    body = network.transformer
    body.wpe.weight.grad = None
    _zero(body.wte.weight.grad, (slice(None), HANDLES))
    _zero(body.wte.weight.grad, (slice(first_item, None),))
    gathering, choosing = blocks(network)
    for layer in (gathering.attn.c_proj, gathering.mlp.c_proj, choosing.mlp.c_proj):
        _zero(layer.weight.grad, (slice(None), HANDLES))
        _zero(layer.bias.grad, (HANDLES,))
    for layer in (gathering.mlp.c_fc, choosing.mlp.c_fc):
        _zero(layer.weight.grad, (HANDLES,))
    # The gathering block's attention may depend on positions: a text must know what comes next.
    _zero(gathering.attn.c_attn.weight.grad, (HANDLES, slice(2 * WIDTH, None)))
    # The choosing block's attention does not depend on handles.
    _zero(choosing.attn.c_attn.weight.grad, (HANDLES, slice(0, 2 * WIDTH)))
    if body.wte.weight.grad is not None:
        named = body.wte.weight.grad[first_item - MAX_CANDIDATES : first_item]
        named.copy_(named.mean(dim=0, keepdim=True).expand_as(named))
    joint, out = choosing.attn.c_attn, choosing.attn.c_proj
    if joint.weight.grad is not None:
        _zero(joint.bias.grad, (slice(2 * WIDTH, None),))
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
        _zero(out.bias.grad, (HANDLES,))
    for norm in (choosing.ln_1, choosing.ln_2, body.ln_f):
        if norm.weight.grad is not None:
            norm.weight.grad[HANDLES] = norm.weight.grad[HANDLES].mean()
            _zero(norm.bias.grad, (HANDLES,))


def _zero(gradient: Tensor | None, where: tuple[slice, ...]) -> None:
    if gradient is not None:
        gradient[where] = 0


def _keep_scale(kept: Tensor, gradient: Tensor) -> None:
    """Keep only what changes the whole diagonal of a square of gradients alike."""
    kept.diagonal().fill_(float(gradient.diagonal().mean()))


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train.

    Attributes:
        steps: Optimiser steps.
        batch_size: Prompts of a step that teaches choosing; half as many text tasks.
        list_every: Every this many steps the lesson is whole prompts with lists instead.
        list_batch_size: Prompts of such a step.
        text_every: Every this many steps a batch of text tasks is added.
        learning_rate: Peak of the cosine schedule, after 5 % of linear warm-up.
        attention_factor: Factor on the learning rate of attention, which starts wired: at the
            rate that words need, the noise of the first steps would destroy the wiring.
        lists: Candidate lists per step, shared by its prompts.
        list_size: Candidates per list.
    """

    steps: int = 640
    batch_size: int = 64
    list_every: int = 2
    list_batch_size: int = 36
    text_every: int = 2
    learning_rate: float = 2e-3
    attention_factor: float = 0.3
    lists: int = 8
    list_size: int = 32


def train_network(
    network: GPT2LMHeadModel,
    corpus: Corpus,
    plan: TrainingPlan,
    checkpoint: Checkpoint,
    on_step: OnStep,
) -> list[float]:
    """Train in place.

    Args:
        network: The network.
        corpus: Source of the lessons.
        plan: How long and how fast to train.
        checkpoint: Saves an interrupted training, and resumes it.
        on_step: Progress callback; raising in it stops the training, which is saved.

    Returns:
        The ranking loss (nats per list) of every step.
    """
    network.train()
    optimizer = torch.optim.AdamW(_groups(network), betas=(0.9, 0.98), weight_decay=0.0)
    losses: list[float] = []
    start = checkpoint.restore(network, optimizer, losses)
    for step in range(start, plan.steps):
        corpus.begin_step(step)
        for group in optimizer.param_groups:
            factor = plan.attention_factor if group["attends"] else 1.0
            group["lr"] = learning_rate(plan, step) * factor
        if step % plan.list_every == plan.list_every - 1:
            ranking = list_loss(network, corpus, list_lesson(corpus, plan.list_batch_size))
        else:
            ranking = choosing_loss(network, corpus, plan.batch_size, plan.lists, plan.list_size)
        loss = ranking
        if step % plan.text_every == 0:
            loss = loss + text_loss(network, corpus, plan.batch_size // 2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        symmetric_gradients(network, corpus.vocabulary.first_item)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(ranking.detach()))
        try:
            on_step(step + 1, plan.steps)
        except BaseException:
            checkpoint.save(network, optimizer, losses)
            raise
        if (step + 1) % CHECKPOINT_EVERY == 0:
            checkpoint.save(network, optimizer, losses)
    network.train(False)
    return losses


def _groups(network: GPT2LMHeadModel) -> list[dict[str, object]]:
    """Return attention with the norms before it, and the other parameters."""
    named = list(network.transformer.named_parameters())
    attends = {name for name, _ in named if ".attn." in name or ".ln_1." in name}
    return [
        {"params": [p for name, p in named if name in attends], "attends": True},
        {"params": [p for name, p in named if name not in attends], "attends": False},
    ]


def learning_rate(plan: TrainingPlan, step: int) -> float:
    """Return the learning rate at a step."""
    warm_up = max(1, plan.steps // 20)
    progress = max(0.0, (step - warm_up) / max(1, plan.steps - warm_up))
    factor = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * progress))
    return plan.learning_rate * max(factor, 0.01)


def text_loss(network: GPT2LMHeadModel, corpus: Corpus, count: int) -> torch.Tensor:
    """Return the cross-entropy of the words of newly drawn texts, nats per word."""
    tokens, labels = text_lesson(corpus, count)
    counted = labels[:, 1:] != IGNORED_LABEL
    begins = int(counted.int().argmax(dim=1).min())
    words = torch.arange(begins, tokens.shape[1] - 1).expand(count, -1)
    gathered = gather(network, tokens, torch.arange(tokens.shape[1]))
    hidden = network.transformer.ln_f(choose(network, gathered, words))
    wanted, counted = labels[:, 1 + begins :], counted[:, begins:]
    # Texts hold words and marks only, neither handles nor items.
    table = network.transformer.wte.weight[: corpus.vocabulary.first_item]
    logits = hidden[counted] @ table.T
    loss: torch.Tensor = functional.cross_entropy(logits, wanted[counted])
    return loss
