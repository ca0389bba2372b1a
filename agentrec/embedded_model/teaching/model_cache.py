"""From a catalogue to a trained embedded model, cached by the hash of its inputs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import portalocker

from agentrec.catalog import Catalog
from agentrec.data.item_features import ItemFeatures
from agentrec.embedded_model.aspects import discover_aspects
from agentrec.embedded_model.folder import CatalogModel, load_model, save_model
from agentrec.embedded_model.initialization import build_network
from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.teaching.evaluation import examine, model_card
from agentrec.embedded_model.teaching.teacher import RuleWeights, Teacher
from agentrec.embedded_model.teaching.training import (
    Checkpoint,
    OnStep,
    TrainingPlan,
    train_network,
)
from agentrec.embedded_model.vocabulary import Vocabulary

_RETRY_SECONDS = 0.2


@contextmanager
def exclusive_lock(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock between processes; blocks until it is acquired.

    Args:
        file: The lock file; created if missing, and left there.
        on_wait: Called now and then while waiting. Raising in it gives up.

    Raises:
        OSError: If the file cannot be created.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
    with file.open("ab") as lock:
        while True:
            try:
                # The operating system releases it when the process ends, however it ends.
                portalocker.lock(lock, flags)
                break
            except portalocker.exceptions.LockException:
                on_wait()
                time.sleep(_RETRY_SECONDS)
        yield


RECIPE_VERSION = 7
"""Increased whenever the same inputs would give another model."""


@dataclass(frozen=True)
class Recipe:
    """Everything beside the catalogue that determines a trained model.

    Attributes:
        plan: How long and how fast to train.
        weights: Strengths of the rule.
        seed: Seed of initialisation and corpus.
    """

    plan: TrainingPlan = field(default_factory=TrainingPlan)
    weights: RuleWeights = field(default_factory=RuleWeights)
    seed: int = 0


def obtain_model(
    catalog: Catalog,
    features: ItemFeatures,
    counts: Mapping[str, int],
    cache: Path,
    recipe: Recipe,
    on_step: OnStep,
) -> CatalogModel:
    """Load the catalogue's model from the cache, training it first if it is missing.

    Blocks while it trains, for minutes. An interrupted training is resumed. If another process
    trains the same model, this one waits for it.

    Args:
        catalog: The items.
        features: Their features.
        counts: How often each was chosen in training sessions, as passed to ``features``.
        cache: Folder of models.
        recipe: What determines the model beside the catalogue.
        on_step: Called with steps done and the total; not called when nothing is trained. Raising
            in it stops the training.
    """
    name = f"catalog-lm-{_recipe_hash(catalog, features, counts, recipe)}"
    folder = cache / "catalog-lm" / name
    if not folder.is_dir():
        lock = cache / "locks" / f"{name}.lock"
        # Two trainings would write the same checkpoint; a process that waits finds the model.
        with exclusive_lock(lock, lambda: on_step(0, recipe.plan.steps)):
            if not folder.is_dir():
                _train_and_save(catalog, features, recipe, folder, on_step)
    return load_model(folder)


def _train_and_save(
    catalog: Catalog, features: ItemFeatures, recipe: Recipe, folder: Path, on_step: OnStep
) -> None:
    checkpoint = Checkpoint(folder.with_suffix(".part.safetensors"))
    aspects = discover_aspects(catalog, features)
    vocabulary = Vocabulary.of(catalog, aspects)
    teacher = Teacher(features, aspects, recipe.weights)
    corpus = Corpus(features, teacher, vocabulary, recipe.seed)
    network = build_network(vocabulary, features, aspects, recipe.seed)
    losses = train_network(network, corpus, recipe.plan, checkpoint, on_step)
    model = CatalogModel(folder.name, network, vocabulary)
    card = model_card(model, teacher, examine(model, corpus), recipe.plan, losses)
    save_model(model, card, folder)
    checkpoint.discard()


def _recipe_hash(
    catalog: Catalog, features: ItemFeatures, counts: Mapping[str, int], recipe: Recipe
) -> str:
    digest = hashlib.sha256(catalog.content_hash.encode())
    digest.update(features.text.tobytes())
    described = [RECIPE_VERSION, asdict(recipe), sorted(counts.items())]
    digest.update(json.dumps(described).encode())
    return digest.hexdigest()[:16]
