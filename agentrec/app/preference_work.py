"""What the commands about preferences and the reward model do in a run folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from agentrec.app.model_settings import LlmSettings
from agentrec.app.parts import named_model, use_one_thread
from agentrec.app.prefer_settings import PreferSettings
from agentrec.app.preference_collecting import PAIRS_FILE, Collection, check_users, collect_pairs
from agentrec.app.preference_tables import print_collection, print_texts_report
from agentrec.app.reranking import Rewritten, rewritten, target_ranks
from agentrec.app.reward_modelling import obtain_reward_model
from agentrec.app.run_again import settings_of_run
from agentrec.app.run_files import writing
from agentrec.app.run_parts import RunParts, find_run, open_run
from agentrec.app.settings import DemoSettings
from agentrec.app.settings_layers import load_settings
from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.evaluation.report import MetricsReport, build_report
from agentrec.graphs.recommending import rank
from agentrec.llm.gateway import ModelGateway
from agentrec.llm.limits import CallLimiter
from agentrec.runs.concurrency import map_concurrently
from agentrec.runs.run_folder import RunFolder, write_json
from agentrec.sessions import Session
from agentrec.stores.preference_card import write_card
from agentrec.stores.preference_export import read_pairs, write_pairs
from agentrec.stores.preference_records import ExportForm
from agentrec.stores.preference_statistics import PairStatistics

DEFAULT_RUN = Path("runs/demo")


def run_settings(given: Mapping[str, Any], config: Path | None) -> DemoSettings:
    """Settings of the run that is named, or of a new one.

    Raises:
        InputError: If a source has something wrong in it.
    """
    settings, _ = load_settings(given, config)
    if RunFolder(settings.run).manifest.is_file():
        settings, _ = settings_of_run(given, config)
    return settings


@asynccontextmanager
async def opened(
    settings: DemoSettings, console: Console, check: Callable[[Dataset], None] | None = None
) -> AsyncIterator[RunParts]:
    """Open a run, or begin one.

    Args:
        settings: Those of the run.
        console: Where to say how it goes.
        check: Raises if something is wrong with the data, before anything is begun.

    Raises:
        InputError: If settings or data are not those of the run that is there.
        StoreError: If another process has the knowledge base open.
    """
    use_one_thread()
    place = await find_run(settings, console)
    if check is not None:
        check(place.dataset)
    await asyncio.to_thread(place.folder.begin, place.manifest)
    async with open_run(place, console, tell_usage=False) as parts:
        yield parts


async def collect_in_run(settings: DemoSettings, console: Console) -> Collection:
    """Collect pairs, and say what came of it.

    Raises:
        InputError: If a setting, a file or the run folder cannot be used.
        ModelCallError: If the budget is spent; the same again goes on.
    """
    check = partial(check_users, rules=settings.prefer.rules)
    async with opened(settings, console, check) as parts:
        told = await collect_pairs(parts, settings.prefer)
        print_collection(told, console)
        file = parts.folder.preferences / PAIRS_FILE
    console.print(f"The pairs are in {file}", markup=False, highlight=False, soft_wrap=True)
    return told


async def train_reward_model(settings: DemoSettings, console: Console) -> None:
    """Train the reward model of a run.

    Raises:
        InputError: If a setting, a file or the run folder cannot be used.
        ModelCallError: If the budget is spent; the same again goes on.
    """
    async with opened(settings, console) as parts:
        model = await obtain_reward_model(parts, settings.prefer)
        folder = parts.folder.reward_model
    epochs = len(model.recommender.curve)
    console.print(
        f"The reward model is in {folder} ({epochs} epochs)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


async def evaluate_texts(
    settings: DemoSettings, tuned: Sequence[str], console: Console
) -> MetricsReport:
    """Rank test sessions without texts, with the run's model's texts, and with other models'.

    The report is put into the run folder as ``texts.json``.

    Args:
        settings: Those of the run.
        tuned: Other models, as ``provider:model``.
        console: Where to say what came of it.

    Raises:
        InputError: If a model cannot be opened, or there is no test session.
        ModelCallError: If a ranking failed for good, or the budget is spent.
    """
    opened_models = []
    for name in tuned:
        opened_model = named_model(LlmSettings(name=name))
        if opened_model is not None:
            opened_models.append(opened_model)
    async with opened(settings, console) as parts:
        sessions = [one for one in parts.dataset.test if one.target and one.candidates]
        if not sessions:
            raise InputError("there is no test session with candidates", field="data")
        reward_model = await obtain_reward_model(parts, settings.prefer)
        share = settings.prefer.shown_share
        nothing = await reward_model.text_vectors.of([""] * len(sessions))
        ranks = {
            settings.prefer.backbone: await asyncio.to_thread(
                target_ranks, reward_model.recommender, sessions, nothing
            ),
            "llm": await _unaided(sessions, parts),
        }
        differences: list[tuple[str, str]] = []
        made = await rewritten(sessions, parts, reward_model, share=share, name="the run's model")
        failed = {"texts failed": made.failures}
        _add(ranks, differences, "", made, settings.prefer)
        for number, (model, identity) in enumerate(opened_models, start=1):
            gateway = ModelGateway(
                model,
                identity,
                parts.journal,
                limiter=CallLimiter(settings.limits.limits()),
                retries=settings.retries.policy(settings.llm.timeout),
                structured=settings.llm.structured,
            )
            called = f" tuned {number}" if len(opened_models) > 1 else " tuned"
            made = await rewritten(
                sessions, parts, reward_model, model=gateway, share=share, name=identity
            )
            await gateway.aclose()
            failed[f"texts failed{called}"] = made.failures
            _add(ranks, differences, called, made, settings.prefer)
            differences += [
                (f"told{called}", "told"),
                (f"reranked{called}", "reranked"),
            ]
        calls = {"made": len(parts.journal), **failed}
        report = await asyncio.to_thread(
            build_report, ranks, tuple(differences), calls, settings.seed
        )
        with writing(parts.folder.path):
            await asyncio.to_thread(
                write_json, parts.folder.path / "texts.json", report.model_dump(mode="json")
            )
        print_texts_report(report, parts.dataset.name, console)
    return report


def pairs_file(run: Path | None, pairs: Path | None) -> Path:
    """The file of pairs that is meant.

    Raises:
        InputError: If it is not there.
    """
    file = pairs or RunFolder(run or DEFAULT_RUN).preferences / PAIRS_FILE
    if not file.is_file():
        told = "" if pairs else "; `agentrec prefer collect` makes it"
        raise InputError(f"there is no file of pairs{told}", file=file)
    return file


def statistics_of(file: Path) -> PairStatistics:
    """What a collection of pairs is like, with the reasons for none where they are known.

    Raises:
        InputError: If the file holds what is no pair.
    """
    beside = file.parent / "collection.json"
    refused: Mapping[str, int] = {}
    if beside.is_file():
        try:
            refused = json.loads(beside.read_text("utf-8"))["refused"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"is not the record of a collection ({error})", file=beside) from error
    return PairStatistics.of(read_pairs(file), refused)


def export_pairs(file: Path, out: Path, form: str) -> int:
    """Write pairs in a form that training libraries take, with a card; blocks.

    Raises:
        InputError: If the form is none, or a file cannot be read or written.
    """
    if form not in get_args(ExportForm):
        raise InputError(f"{form!r} is none of {', '.join(get_args(ExportForm))}", field="form")
    pairs = read_pairs(file)
    with writing(out):
        write_pairs(out, pairs, cast("ExportForm", form))
        write_card(out, statistics_of(file), cast("ExportForm", form))
    return len(pairs)


def _add(
    ranks: dict[str, list[int | None]],
    differences: list[tuple[str, str]],
    called: str,
    made: Rewritten,
    prefer: PreferSettings,
) -> None:
    ranks[f"told{called}"] = made.told
    ranks[f"told foreign{called}"] = made.foreign
    ranks[f"reranked{called}"] = made.reranked
    differences += [
        (f"told{called}", prefer.backbone),
        (f"told{called}", f"told foreign{called}"),
        (f"reranked{called}", "llm"),
    ]


async def _unaided(sessions: Sequence[Session], parts: RunParts) -> list[int | None]:
    async def ranked(session: Session) -> int | None:
        made = await rank(session, None, parts.components)
        return made.rank_of(session.target or "")

    with parts.display.counting("Rankings without texts", len(sessions)) as advance:
        return await map_concurrently(sessions, ranked, parts.concurrency, advance)
