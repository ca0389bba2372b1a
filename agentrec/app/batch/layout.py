"""In how many parts a batch is worked on: settled when it is begun, and kept."""

from __future__ import annotations

import asyncio

from rich.console import Console

from agentrec.app.batch.options import BatchOptions
from agentrec.app.batch.origin import batch_manifest
from agentrec.batch.partitions import Partition, partitions
from agentrec.errors import InputError
from agentrec.runs.open_run import ResolvedRun
from agentrec.runs.run_folder import RunFolder

_PARTITIONS = "partitions"


async def begin_layout(
    place: ResolvedRun, options: BatchOptions, console: Console
) -> list[Partition]:
    """Begin a batch in its folder, or go on with the one that is there.

    Args:
        place: The run that is used.
        options: What is asked for.
        console: Where to say that fewer workers are used than asked for.

    Returns:
        Its parts.

    Raises:
        InputError: If the folder holds another batch, or one in another number of parts.
    """
    folder = RunFolder(options.out, "--out")
    known: int | None = None
    if await asyncio.to_thread(folder.manifest.is_file):
        if not options.resume:
            raise InputError(
                "holds a batch already; name another folder with --out", file=options.out
            )
        manifest = await asyncio.to_thread(folder.read_manifest)
        known = int(manifest["identity"].get(_PARTITIONS, 1))
        if options.partitions not in (None, known):
            raise InputError(
                f"the batch in {options.out} was begun in {known}; leave it out to go on, or name"
                " another folder with --out",
                field=_PARTITIONS,
            )
    count = known or options.partitions or options.workers
    manifest = dict(batch_manifest(place))
    if count > 1:
        manifest["identity"] = {**manifest["identity"], _PARTITIONS: count}
    await asyncio.to_thread(folder.begin, manifest)
    if options.workers > count:
        console.print(
            f"note: this batch was begun in {count} part{'s' * (count > 1)}, so {count} of"
            f" {options.workers} workers can work on it; a new one can be in more (--partitions)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return partitions(count)
