"""Opening a run that is there, with the settings that it was made with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from agentrec.app.learning.run_rewards import RunRewards
from agentrec.assembly import use_one_thread
from agentrec.errors import InputError
from agentrec.runs.manifest import settings_in
from agentrec.runs.open_run import OpenRun, open_run, resolve_run
from agentrec.runs.run_folder import RunFolder
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import load_settings
from agentrec.settings.validation_messages import first_fault


def settings_of_run(
    given: Mapping[str, Any], config: Path | None = None
) -> tuple[RunSettings, Path | None]:
    """The settings of the run that is named; what is given now comes before what it was made with.

    Args:
        given: From the command line, nested like the settings themselves.
        config: A settings file; by default the one in the working directory, if there is one.

    Returns:
        The settings, and the file they came from, if any.

    Raises:
        InputError: If there is no run, or a source has something wrong in it.
    """
    wanted, _ = load_settings(given, config)
    folder = RunFolder(wanted.run)
    manifest = folder.read_manifest()
    try:
        below = settings_in(manifest)
        RunSettings.model_validate(below)
    except ValidationError as error:
        field = ".".join(str(part) for part in first_fault(error)["loc"])
        raise InputError(
            "is not what this version makes runs with", file=folder.manifest, field=field
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "does not say what the run was made with: it is broken, or by an earlier version",
            file=folder.manifest,
        ) from error
    return load_settings(given, config, below=below)


@asynccontextmanager
async def reopen_run(
    settings: RunSettings, console: Console, *, nearest: int | None = None
) -> AsyncIterator[tuple[OpenRun, RunRewards]]:
    """Open a run that has hints, and what they bring its sessions.

    Args:
        settings: Those of ``settings_of_run``.
        console: Where progress and usage are shown.
        nearest: Among how many of the nearest hints policies choose; ``None`` for as many as in
            a run that does not say.

    Raises:
        InputError: If settings or data are not those of the run, or it has no hint yet.
        StoreError: If another process has the knowledge base open.
    """
    use_one_thread()
    place = await resolve_run(settings, console)
    await asyncio.to_thread(place.folder.begin, place.manifest)
    without = InputError(
        "this run has no hints; `agentrec demo` with the same --run learns some, and"
        " `agentrec kb add` adds one",
        file=place.folder.path,
    )
    if not place.folder.knowledge_base.is_dir():
        raise without
    async with open_run(place, console, report_usage=False) as parts:
        hints = await parts.components.hint_store.all()
        if not hints:
            raise without
        wanted = PolicySettings(nearest=nearest).hints_offered(settings.max_hints)
        parts = replace(parts, components=replace(parts.components, hints_offered=wanted))
        yield parts, RunRewards(parts, hints)
