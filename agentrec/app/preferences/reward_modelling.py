"""The reward model of a run: a backbone, one text a session, and an adapter; frozen afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentrec.app.preferences.text_writing import factors_of, texts_for
from agentrec.assembly import CatalogKnowledge
from agentrec.atomic_files import write_atomically
from agentrec.contracts import RewardModel
from agentrec.errors import InputError, ModelCallError
from agentrec.graphs.preferences.ranking_reward import RankingRewardModel
from agentrec.plugins import REWARD_MODELS, load_plugin
from agentrec.policies.reward_model.augmented_recommender import AugmentedRecommender, Floats
from agentrec.policies.reward_model.knowledge_reward_model import KnowledgeRewardModel, TextVectors
from agentrec.policies.reward_model.reward_model_wrappers import (
    BatchedRewardModel,
    MixedRewardModel,
)
from agentrec.policies.reward_model.training import RewardModelTrainer
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.progress import run_blocking
from agentrec.runs.open_run import OpenRun
from agentrec.runs.run_folder import writing
from agentrec.sessions import Session
from agentrec.settings.prefer_settings import REWARDS, PreferSettings

RECORD_FILE = "training.json"


@dataclass(frozen=True, eq=False)
class TimeParts:
    """The training sessions of a run in order of time, and what each is used for.

    Attributes:
        rewarding: The earlier ones: the reward model learns from them.
        collecting: Those that pairs are collected from: the later ones, or all where rewards come
            from a model that learns from none.
    """

    rewarding: Sequence[Session]
    collecting: Sequence[Session]

    @classmethod
    def of(cls, train: Sequence[Session], prefer: PreferSettings) -> TimeParts:
        """Cut training sessions, which are in order of time.

        Raises:
            InputError: If there are fewer than two.
        """
        if len(train) < 2:
            raise InputError(
                "a reward model and pairs need at least 2 training sessions: one to learn from,"
                " and a later one to reward",
                field="data",
            )
        cut = min(len(train) - 1, max(1, round(len(train) * prefer.reward_share)))
        later = train if prefer.reward == "model" else train[cut:]
        return cls(train[:cut], later[-prefer.max_sessions :])


class RewardRecord(BaseModel):
    """What a reward model in a run folder was made with.

    Attributes:
        prefer: The settings.
        seed: Seed of its training.
        sessions: How many sessions there were: ``train`` and ``valid``.
        factors: What the texts are about.
        model: The language model that wrote them.
        failures: How many texts could not be written: of ``train`` and ``valid``. The adapter
            learnt without them. What came of the making, and no part of what it is known by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefer: PreferSettings
    seed: int
    sessions: dict[str, int]
    factors: tuple[str, ...]
    model: str
    failures: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """The record in a file; ``None`` if there is none, or it is not one. Blocks."""
        try:
            return cls.model_validate_json(file.read_bytes()) if file.is_file() else None
        except ValidationError:
            return None

    def made_as(self, other: RewardRecord) -> bool:
        """Whether both were made with the same."""
        return self.model_copy(update={"failures": other.failures}) == other


async def obtain_reward_model(parts: OpenRun, prefer: PreferSettings) -> KnowledgeRewardModel:
    """The run's reward model: the one that is there if it was made so, else a new one.

    Texts of the earlier training sessions and of the validation sessions are written first, one
    each; then a backbone is trained on the earlier training sessions, then the adapter on those of
    them that have a text.

    Args:
        parts: The run.
        prefer: How.

    Raises:
        InputError: If there are too few sessions, or the folder cannot be written.
        ModelCallError: If the budget is spent, or no text to learn from could be written.
    """
    folder = parts.folder.reward_model
    cut = TimeParts.of(parts.dataset.train, prefer)
    valid = [one for one in parts.dataset.valid if one.target is not None and one.candidates]
    factors = await factors_of(parts)
    record = RewardRecord(
        prefer=prefer.of_reward_model(),
        seed=parts.settings.seed,
        sessions={"train": len(cut.rewarding), "valid": len(valid)},
        factors=factors,
        model=parts.components.gateway.name,
    )
    embeddings = parts.components.embeddings
    known = folder / RECORD_FILE
    found = await asyncio.to_thread(RewardRecord.read, known)
    if found is not None and found.made_as(record):
        model = await asyncio.to_thread(AugmentedRecommender.load, folder)
        return _frozen(model, parts, prefer)
    if found is not None:
        parts.display.say("The reward model that is there was made otherwise; it is made anew.")
    train = await _told("Texts to learn from", cut.rewarding, factors, parts, prefer)
    if not train.sessions:
        raise ModelCallError("no text to learn from could be written: there is no reward model")
    others = await _told("Texts to validate with", valid, factors, parts, prefer)
    failures = {
        "train": len(cut.rewarding) * prefer.reward_texts - len(train.sessions),
        "valid": len(valid) * prefer.reward_texts - len(others.sessions),
    }
    content = record.model_copy(update={"failures": failures}).model_dump_json(indent=1) + "\n"
    backbone = await _backbone(parts, prefer, cut.rewarding, valid)
    text_vectors = TextVectors(embeddings, parts.knowledge.text_vectors.shape[1])
    vectors = await text_vectors.of(train.texts), await text_vectors.of(others.texts)
    with parts.display.phase("Training: reward model") as report:

        def fit(check: Callable[[], None]) -> AugmentedRecommender:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            made = RewardModelTrainer(prefer.reward_model).fit(
                backbone,
                train.sessions,
                vectors[0],
                others.sessions,
                vectors[1],
                shown_share=prefer.shown_share,
                item_vectors=known_of_items(parts.knowledge),
                seed=parts.settings.seed,
                on_progress=on_progress,
            )
            with writing(folder):
                # First: no record stands beside a model that it does not speak of.
                known.unlink(missing_ok=True)
                made.save(folder)
                # Last: what is recorded is whole.
                write_atomically(known, content.encode())
            return made

        made = await run_blocking(fit)
    if not made.fusion.strength:
        parts.display.say(
            "Texts tell this recommender nothing that helps it with validation sessions: it leaves"
            " them out, and to it they are all worth the same. See `reward` and `reward_texts`."
        )
    return _frozen(made, parts, prefer)


def reward_of(model: KnowledgeRewardModel, parts: OpenRun, prefer: PreferSettings) -> RewardModel:
    """What says what the texts of a run are worth.

    Args:
        model: The run's reward model.
        parts: The run.
        prefer: Who is asked.
    """
    if prefer.reward not in REWARDS:
        return cast("RewardModel", load_plugin(REWARD_MODELS, prefer.reward)(parts.components))
    if prefer.reward == "recommender":
        return BatchedRewardModel(model)
    ranking = RankingRewardModel(
        parts.components,
        relevant=prefer.relevant,
        shown_share=prefer.shown_share,
        cutoff=prefer.reward_model.cutoff,
    )
    if prefer.reward == "model":
        return ranking
    return MixedRewardModel([(BatchedRewardModel(model), 1.0), (ranking, 1.0)])


def _frozen(
    recommender: AugmentedRecommender, parts: OpenRun, prefer: PreferSettings
) -> KnowledgeRewardModel:
    return KnowledgeRewardModel(
        recommender,
        parts.components.embeddings,
        relevant=prefer.relevant,
        shown_share=prefer.shown_share,
    )


def known_of_items(knowledge: CatalogKnowledge) -> Floats:
    """Category values and soft bins of numbers of every item; text vectors where there are none.

    Returns:
        Float32 ``[num_items, any]``.
    """
    features = knowledge.features
    blocks = [category.member for category in features.categories]
    blocks += [number.vectors for number in features.numbers]
    # Fame alone says nothing of what an item is.
    if not features.categories and all(number.is_fame for number in features.numbers):
        blocks.append(knowledge.text_vectors)
    return np.concatenate(blocks, axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Told:
    """Sessions that have a text, and the text of each."""

    sessions: Sequence[Session]
    texts: Sequence[str]


async def _told(
    title: str,
    sessions: Sequence[Session],
    factors: Sequence[str],
    parts: OpenRun,
    prefer: PreferSettings,
) -> _Told:
    """Have texts written; what could not be is left out, lest silence be learnt as what is said."""
    texts = await texts_for(
        title,
        sessions,
        factors,
        parts,
        share=prefer.shown_share,
        temperature=prefer.temperature,
        samples=prefer.reward_texts,
    )
    owners = list(sessions) * prefer.reward_texts
    pairs = [(one, text) for one, text in zip(owners, texts, strict=True) if text is not None]
    return _Told([one for one, _ in pairs], [text for _, text in pairs])


async def _backbone(
    parts: OpenRun, prefer: PreferSettings, train: Sequence[Session], valid: Sequence[Session]
) -> SequentialRecommender:
    """Train the backbone, or go on with it."""
    trainer = BackboneTrainer(
        prefer.backbone, prefer.backbone_config(), parts.folder.reward_model / "checkpoint"
    )
    with parts.display.phase(f"Training: {prefer.backbone}") as report:

        def fit(check: Callable[[], None]) -> SequentialRecommender:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            return trainer.fit(
                train,
                valid,
                parts.dataset.catalog,
                seed=parts.settings.seed,
                on_progress=on_progress,
            )

        return await run_blocking(fit)
