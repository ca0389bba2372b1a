"""Training the embedded model on a catalogue, and evaluating it on sessions it never saw."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.learning.run_baselines import rank_in
from agentrec.app.reports.run_report import metrics_tables
from agentrec.app.reports.tables import Column, Report, Table
from agentrec.assembly import (
    CatalogKnowledge,
    know_catalog,
    teach_embedded_model,
    use_one_thread,
)
from agentrec.components import Components
from agentrec.data import Dataset
from agentrec.data.dataset import SplitName
from agentrec.embedded_model.aspects import discover_aspects
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.teaching.corpus import Corpus
from agentrec.embedded_model.teaching.evaluation import Examination, examine
from agentrec.embedded_model.teaching.teacher import RuleRanker, RuleWeights, Teacher
from agentrec.errors import InputError
from agentrec.evaluation.baselines import RandomRanker, Ranker, TextSimilarityRanker
from agentrec.evaluation.report import MetricsReport, build_report
from agentrec.graphs.recommendation.ranking import rank
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.prompts.templates import Prompts
from agentrec.named_components import NamedEmbeddings, open_embeddings
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.progress import ProgressDisplay, run_blocking
from agentrec.rankings import Ranking
from agentrec.runs.open_run import load_data
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.streaming.stream import map_concurrently

_CONCURRENCY = 64
_COMPARED = tuple(("no_hint", other) for other in ("text_similarity", "rule", "random"))


@dataclass(frozen=True)
class ModelEvaluation:
    """How good an embedded model is.

    Attributes:
        examination: On prompts drawn from the catalogue.
        metrics: On sessions, without a hint, beside the rule and text similarity.
    """

    examination: Examination
    metrics: MetricsReport


async def train_model(settings: RunSettings, out: Path, console: Console) -> CatalogChatModel:
    """Train a model on the items of a data set, or resume, and copy its folder to ``out``.

    Of the settings, data, embeddings and steps matter.

    Raises:
        InputError: If the folder exists, or the data cannot be used.
        FetchError: If something cannot be downloaded.
    """
    use_one_thread()
    if await asyncio.to_thread(out.exists):
        raise InputError("exists already; name a new folder", file=out)
    display = ConsoleProgress(console)
    dataset, knowledge = await _prepared(settings, display)
    model = await teach_embedded_model(dataset.catalog, knowledge, display, settings.lm_steps)
    taught = model.catalog_model.folder
    if taught is None:
        raise RuntimeError("a model that was taught has no folder")
    await asyncio.to_thread(_copy, taught, out)
    return model


async def examine_model(
    folder: Path, settings: RunSettings, split: SplitName, console: Console
) -> ModelEvaluation:
    """Evaluate a model on a data set's catalogue and on its sessions.

    Of the settings, data, embeddings and seed matter.

    Raises:
        InputError: If the folder or the data cannot be used, or do not belong together.
        FetchError: If something cannot be downloaded.
    """
    use_one_thread()
    display = ConsoleProgress(console)
    model = await asyncio.to_thread(CatalogChatModel.from_folder, folder)
    dataset, knowledge = await _prepared(settings, display)
    if not set(dataset.catalog.labels.values()) <= set(model.catalog_model.vocabulary.labels):
        raise InputError("was taught from another catalogue than this data's", file=folder)
    sessions = dict(dataset.splits())[split]
    aspects = discover_aspects(dataset.catalog, knowledge.features)
    teacher = Teacher(knowledge.features, aspects, RuleWeights())
    corpus = Corpus(knowledge.features, teacher, model.catalog_model.vocabulary, settings.seed)

    examination = await run_blocking(lambda check: examine(model.catalog_model, corpus))
    components = _components(model, dataset, knowledge, settings.seed)
    with display.counting(f"Ranking {split} sessions", len(sessions)) as advance:

        async def ranked(session: Session) -> Ranking:
            return await rank(session, None, components)

        rankings = await map_concurrently(sessions, ranked, _CONCURRENCY, advance)
    ids = dataset.catalog.item_ids
    rankers: dict[str, Ranker] = {
        "random": RandomRanker(settings.seed),
        "text_similarity": TextSimilarityRanker(ids, knowledge.text_vectors, seed=settings.seed),
        "rule": RuleRanker(dataset.catalog, teacher, settings.seed),
    }
    ranks = {
        name: [rank_in(ranker.rank(session), session) for session in sessions]
        for name, ranker in rankers.items()
    }
    pairs = zip(sessions, rankings, strict=True)
    ranks["no_hint"] = [rank_in(ranking.item_ids, session) for session, ranking in pairs]
    metrics = await asyncio.to_thread(build_report, ranks, _COMPARED, {}, settings.seed)
    return ModelEvaluation(examination, metrics)


def model_report(evaluation: ModelEvaluation, split: str) -> Report:
    """Report how good a model is on prompts and on the sessions of a split."""
    found, metrics = evaluation.examination, evaluation.metrics
    shares = {
        "first choice out of all tokens is a candidate": found.candidate_first,
        "same first candidate as the rule": found.same_first,
        "top 10 of the masked ranking named in a list written freely": found.written_overlap,
        "distinct entries in such a list": found.written_distinct,
    }
    correlations = zip(("no hint", "hint"), found.agreement, strict=True)
    title = f"{metrics.sessions} {split} sessions, without a hint"
    return [
        Table(
            f"On {found.prompts} fresh prompts of {found.candidates} candidates",
            (Column("measure"), Column("value", ">")),
            (
                *((name, f"{share:.1%}") for name, share in shares.items()),
                *(
                    (f"rank correlation with the rule, {kind}", f"{r:.3f}")
                    for kind, r in correlations
                ),
            ),
        ),
        Table(
            "Hints: rank correlation with the degree to which candidates have what is asked for",
            (Column("prefer ..."), Column("the model", ".2f"), Column("the rule", ".2f")),
            tuple((grade.phrase, grade.with_property, grade.rule) for grade in found.hints),
        ),
        *metrics_tables(title, "Paired differences", metrics),
    ]


async def _prepared(
    settings: RunSettings, display: ProgressDisplay
) -> tuple[Dataset, CatalogKnowledge]:
    dataset = await load_data(settings)
    embeddings = NamedEmbeddings(open_embeddings(settings.embeddings), settings.embeddings)
    return dataset, await know_catalog(dataset.catalog, dataset.train, embeddings, display)


def _components(
    model: CatalogChatModel, dataset: Dataset, knowledge: CatalogKnowledge, seed: int
) -> Components:
    return Components(
        catalog=dataset.catalog,
        model=ModelGateway(model, model.catalog_model.name),
        prompts=Prompts.load(),
        embeddings=open_embeddings("hashed"),
        encoder=RecencySessionEncoder(dataset.catalog, knowledge.features, knowledge.text_vectors),
        hint_store=InMemoryHintStore(knowledge.text_vectors.shape[1]),
        hint_policy=NoHintPolicy(),
        seed=seed,
    )


def _copy(folder: Path, out: Path) -> None:
    """Copy a folder, whole or not at all."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            shutil.copytree(folder, scratch, dirs_exist_ok=True)
            scratch.chmod(0o755)
            scratch.rename(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", file=out) from error
