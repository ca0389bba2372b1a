"""What processes that work on a batch share: nobody changes it while they do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import portalocker
from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.assembly import know_catalog, teach_embedded_model
from agentrec.errors import StoreError
from agentrec.named_components import NamedEmbeddings, open_embeddings
from agentrec.runs.open_run import ResolvedRun
from agentrec.stores.hints.opening import open_hint_store

_FOLDER = "knowledge-base"


@asynccontextmanager
async def sole_driver(batch: Path) -> AsyncIterator[None]:
    """See that nobody else drives a batch as long as the block lasts.

    Args:
        batch: Its folder.

    Raises:
        StoreError: If somebody does.
    """
    file = await asyncio.to_thread((batch / ".driver.lock").open, "ab")
    try:
        flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
        try:
            portalocker.lock(file, flags)
        except portalocker.exceptions.LockException as error:
            raise StoreError(f"{batch}: another process is at work on this batch") from error
        yield
    finally:
        file.close()


async def copy_of_knowledge(place: ResolvedRun, batch: Path, console: Console) -> Path:
    """Copy the run's hints into a batch's folder, and see that workers find all else made.

    A knowledge base in a folder is for one process at a time.

    Args:
        place: The run.
        batch: The batch's folder.
        console: Where progress is shown.

    Returns:
        The copy's folder.

    Raises:
        StoreError: If another process has the knowledge base open.
    """
    display = ConsoleProgress(console)
    settings = place.settings
    embeddings = NamedEmbeddings(open_embeddings(settings.embeddings), settings.embeddings)
    dataset = place.dataset
    knowledge = await know_catalog(dataset.catalog, dataset.train, embeddings, display)
    if place.named is None:
        # Trained once, here, and not by each of them.
        await teach_embedded_model(dataset.catalog, knowledge, display, settings.lm_steps)
    source, copy = place.folder.knowledge_base, (batch / _FOLDER).absolute()
    dimension = knowledge.text_vectors.shape[1]
    async with await open_hint_store(source, dimension, embedding_model=settings.embeddings):
        # While it is open here nobody else writes to it.
        await asyncio.to_thread(_copy, source, copy)
    return copy


def _copy(source: Path, copy: Path) -> None:
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
    except (OSError, shutil.Error) as error:
        raise StoreError(f"{copy}: the knowledge base cannot be copied here ({error})") from error
