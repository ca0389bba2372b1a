"""What the commands about preferences and the reward model do in a run folder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.preferences.collection import (
    PAIRS_FILE,
    Collection,
    check_users,
    collect_pairs,
    embedded_folder,
)
from agentrec.app.preferences.reward_modelling import obtain_reward_model
from agentrec.app.reports.preference_report import collection_report
from agentrec.app.reports.run_report import usage_printer
from agentrec.app.reports.tables import show
from agentrec.data import Dataset
from agentrec.errors import InputError
from agentrec.named_components import NamedModel, open_model
from agentrec.runs.open_run import OpenRun, open_run, resolve_run, settings_of_run, with_model
from agentrec.runs.run_folder import RunFolder, writing
from agentrec.settings.run_settings import RunSettings
from agentrec.stores.pairs.card import write_card
from agentrec.stores.pairs.export import read_pairs, write_pairs
from agentrec.stores.pairs.records import ExportForm
from agentrec.stores.pairs.statistics import PairStatistics

DEFAULT_RUN = Path("runs/demo")


def run_settings(given: Mapping[str, Any], config: Path | None) -> RunSettings:
    """Settings of the run that is named, or of a new one.

    Raises:
        InputError: If a source has something wrong in it.
    """
    return settings_of_run(given, config, must_exist=False)


@asynccontextmanager
async def opened(
    settings: RunSettings, console: Console, check: Callable[[Dataset], None] | None = None
) -> AsyncIterator[OpenRun]:
    """Open a run, or begin one.

    Args:
        settings: Those of the run.
        console: Where to say how it goes.
        check: Raises if something is wrong with the data, before anything is begun.

    Raises:
        InputError: If settings or data are not those of the run that is there.
        StoreError: If another process has the knowledge base open.
    """
    display = ConsoleProgress(console)
    resolved = await resolve_run(settings, display)
    if check is not None:
        check(resolved.dataset)
    await resolved.begin()
    usage = usage_printer(console, always=False)
    async with open_run(resolved, display, on_usage=usage) as run:
        yield run


async def collect_in_run(settings: RunSettings, console: Console) -> Collection:
    """Collect pairs, and say what came of it.

    Raises:
        InputError: If a setting, a file or the run folder cannot be used.
        ModelCallError: If the budget is spent; the same again goes on.
    """
    prefer = settings.prefer
    check = partial(check_users, rules=prefer.rules)
    # Before anything long: the model may be none.
    other: NamedModel | None = None
    if prefer.writer is not None:
        other = open_model(prefer.writer, {}, settings.llm.timeout)
    async with opened(settings, console, check) as parts:
        if other is None:
            components, folder = parts.components, parts.folder.preferences
            summary = await collect_pairs(parts, prefer, folder)
        else:
            folder = parts.folder.preferences_of(other.identity)
            async with with_model(parts, other) as components:
                summary = await collect_pairs(parts, prefer, folder, components)
        show(collection_report(summary), console)
        file = folder / PAIRS_FILE
        model = embedded_folder(components) or "MODEL_FOLDER"
    for line in (
        f"The pairs are in {file}",
        f"Tune a model on them: agentrec dpo train {file} {model} tuned",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return summary


async def train_reward_model(settings: RunSettings, console: Console) -> None:
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


def pairs_file(run: Path | None, pairs: Path | None) -> Path:
    """The file of pairs that is meant.

    Raises:
        InputError: If it is not there.
    """
    file = pairs or RunFolder(run or DEFAULT_RUN).preferences / PAIRS_FILE
    if not file.is_file():
        summary = "" if pairs else "; `agentrec prefer collect` makes it"
        raise InputError(f"there is no file of pairs{summary}", file=file)
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
