"""Text vectors of a catalogue's items, computed once and cached by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from agentrec.atomic_files import write_atomically
from agentrec.catalog import Catalog, Item

CHUNK = 256


def item_text(item: Item) -> str:
    """Return what is embedded of an item: its title and its textual attributes."""
    texts = [
        ", ".join(value) if isinstance(value, tuple) else value
        for value in item.attributes.values()
        if isinstance(value, (str, tuple))
    ]
    return " | ".join([item.title, *(text for text in texts if text)])


def embed_items(
    catalog: Catalog,
    embeddings: Embeddings,
    name: str,
    cache: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Embed every item; blocks, so run it in a thread.

    Args:
        catalog: The items.
        embeddings: The encoder.
        name: Its name, part of the cache key.
        cache: Folder of cached vectors.
        on_progress: Called with the number of items done and of all items.

    Returns:
        Vectors in catalogue order, ``[num_items, dimension]``.
    """
    texts = [item_text(item) for item in catalog.values()]
    key = hashlib.sha256(json.dumps([name, texts]).encode()).hexdigest()[:32]
    file = cache / "item-vectors" / f"{key}.safetensors"
    cached = _read(file, len(texts))
    if cached is not None:
        return cached
    rows: list[Sequence[float]] = []
    for start in range(0, len(texts), CHUNK):
        rows.extend(embeddings.embed_documents(texts[start : start + CHUNK]))
        if on_progress is not None:
            on_progress(len(rows), len(texts))
    vectors = np.asarray(rows, dtype=np.float32)
    write_atomically(file, save({"vectors": vectors}))
    return vectors


def _read(file: Path, count: int) -> npt.NDArray[np.float32] | None:
    """Return the cached vectors, or ``None`` where they are missing or damaged."""
    if not file.is_file():
        return None
    try:
        vectors: npt.NDArray[np.float32] = load_file(file)["vectors"]
    except (SafetensorError, KeyError, OSError):
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == count else None
