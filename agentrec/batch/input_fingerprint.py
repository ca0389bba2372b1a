"""What a batch is made of: whose model, hints and policy, and which file of sessions."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from rich.console import Console

from agentrec.batch.partitions import BatchOptions, Partition, partitions
from agentrec.batch.session_log import SessionLog
from agentrec.errors import InputError
from agentrec.runs.open_run import OpenRun, ResolvedRun
from agentrec.runs.run_folder import Json, RunFolder

_BLOCK = 1 << 20
# Rows can be added at the end of these without changing one that is there.
_GROWING = frozenset({".jsonl", ".ndjson", ".csv"})


def batch_manifest(place: ResolvedRun) -> Json:
    """What a batch is made of: the run that it uses.

    Args:
        place: The run.
    """
    return {**place.manifest, "run": str(place.folder.path.absolute())}


async def claim_knowledge(log: SessionLog, parts: OpenRun) -> None:
    """See that a batch goes on with the hints and the policy that it was begun with.

    Args:
        log: Of the batch.
        parts: The run whose hints and policy are used.

    Raises:
        InputError: If they are others.
    """
    hints = sorted(hint.hint_id for hint in await parts.components.hint_store.all())
    policy = await asyncio.to_thread(_hash_of_folder, parts.folder.live)
    found = {
        "hints": hashlib.sha256("\n".join(hints).encode()).hexdigest(),
        "policy": policy or "none",
    }
    for name, value in found.items():
        known = await log.fact(name)
        if known is not None and known != value:
            raise InputError(
                f"the run's {name} changed since this batch was begun; name another folder with"
                " --out",
                file=parts.folder.path,
            )
        await log.note(name, value)


async def claim_input(log: SessionLog, sessions: Path) -> None:
    """See that a file of sessions is the one that a batch was begun with, or has only grown.

    Args:
        log: Of the batch.
        sessions: The file.

    Raises:
        InputError: If it is another one, or cannot be read.
    """
    known = await log.fact("input")
    size = None if known is None else int(json.loads(known)["size"])
    length, told, whole = await asyncio.to_thread(_hashes, sessions, size)
    if known is not None:
        grown = length == size or sessions.suffix.lower() in _GROWING
        if told != json.loads(known)["sha256"] or not grown:
            raise InputError(
                "is not the file that this batch was begun with; name another folder with --out",
                file=sessions,
            )
    await log.note("input", json.dumps({"size": length, "sha256": whole}))


def _hashes(file: Path, size: int | None) -> tuple[int, str, str]:
    """A file's length, the hash of so many bytes of its beginning, and that of all of it."""
    digest = hashlib.sha256()

    def add(stream: BinaryIO, most: int | None) -> int:
        length = 0
        while block := stream.read(_BLOCK if most is None else min(_BLOCK, most - length)):
            digest.update(block)
            length += len(block)
        return length

    try:
        with file.open("rb") as stream:
            length = add(stream, size)
            told = digest.hexdigest()
            length += add(stream, None)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    return length, told, digest.hexdigest()


def _hash_of_folder(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(folder)}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


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
