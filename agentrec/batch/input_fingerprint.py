"""What a batch is made of, and checks that it resumes with the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from agentrec.batch.partitions import BatchOptions, Partition, partitions
from agentrec.batch.session_log import SessionLog
from agentrec.errors import InputError
from agentrec.runs.open_run import OpenRun, ResolvedRun
from agentrec.runs.run_folder import RunFolder

_BLOCK = 1 << 20
_PARTITIONS = "partitions"
# To these, rows can be appended without a change to existing ones.
_APPENDABLE = frozenset({".jsonl", ".ndjson", ".csv"})


async def start_or_resume(run: ResolvedRun, options: BatchOptions) -> list[Partition]:
    """Start a batch in its folder, or resume the one found there.

    The number of partitions is fixed when a batch is started.

    Args:
        run: The run that is used.
        options: What the batch is asked to do.

    Returns:
        Its partitions.

    Raises:
        InputError: If the folder holds another batch, or one with another number of partitions.
    """
    folder = RunFolder(options.out, "--out")
    known: int | None = None
    if await asyncio.to_thread(folder.manifest.is_file):
        if not options.resume:
            raise InputError(
                "already holds a batch; name another folder with --out", file=options.out
            )
        manifest = await asyncio.to_thread(folder.read_manifest)
        known = int(manifest["identity"].get(_PARTITIONS, 1))
        if options.partitions not in (None, known):
            raise InputError(
                f"the batch in {options.out} has {known}; leave --partitions out to resume it, or"
                " name another folder with --out",
                field=_PARTITIONS,
            )
    count = known or options.partitions or options.workers
    manifest = {**run.manifest, "run": str(run.folder.path.absolute())}
    if count > 1:
        manifest["identity"] = {**manifest["identity"], _PARTITIONS: count}
    await asyncio.to_thread(folder.begin, manifest)
    return partitions(count)


async def check_knowledge(log: SessionLog, run: OpenRun) -> None:
    """Check that a batch resumes with the hints and the policy that it was started with.

    Args:
        log: Log of the batch.
        run: The run whose hints and policy are used.

    Raises:
        InputError: If they changed.
    """
    hints = sorted(hint.hint_id for hint in await run.components.hint_store.all())
    policy = await asyncio.to_thread(_hash_of_folder, run.folder.live)
    found = {
        "hints": hashlib.sha256("\n".join(hints).encode()).hexdigest(),
        "policy": policy or "none",
    }
    for name, value in found.items():
        known = await log.fact(name)
        if known is not None and known != value:
            raise InputError(
                f"the run's {name} changed since this batch was started; name another folder with"
                " --out",
                file=run.folder.path,
            )
        await log.set_fact(name, value)


async def check_input(log: SessionLog, sessions: Path) -> None:
    """Check that a file of sessions is the one that a batch was started with, or has only grown.

    Args:
        log: Log of the batch.
        sessions: The file.

    Raises:
        InputError: If it is another file, or cannot be read.
    """
    fact = await log.fact("input")
    known = None if fact is None else json.loads(fact)
    known_size = None if known is None else int(known["size"])
    size, hash_of_start, whole_hash = await asyncio.to_thread(_hashes, sessions, known_size)
    if known is not None:
        may_differ_in_size = sessions.suffix.lower() in _APPENDABLE
        if hash_of_start != known["sha256"] or not (size == known_size or may_differ_in_size):
            raise InputError(
                "is not the file that this batch was started with; name another folder with --out",
                file=sessions,
            )
    await log.set_fact("input", json.dumps({"size": size, "sha256": whole_hash}))


def _hashes(file: Path, start_size: int | None) -> tuple[int, str, str]:
    """Return a file's size, the hash of its first bytes, and the hash of all of it."""
    digest = hashlib.sha256()

    def add(stream: BinaryIO, limit: int | None) -> int:
        size = 0
        while block := stream.read(_BLOCK if limit is None else min(_BLOCK, limit - size)):
            digest.update(block)
            size += len(block)
        return size

    try:
        with file.open("rb") as stream:
            size = add(stream, start_size)
            hash_of_start = digest.hexdigest()
            size += add(stream, None)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    return size, hash_of_start, digest.hexdigest()


def _hash_of_folder(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(folder)}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
