"""Folders that cannot be opened, each with one line that says why and what to do."""

import asyncio
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from agentrec.errors import StoreError
from agentrec.hints import Hint
from agentrec.stores.qdrant import QdrantHintStore

HINT = Hint(text="Prefer old films.")

HOLDER = """
import sys
from qdrant_client import QdrantClient
client = QdrantClient(path=sys.argv[1])
print("open", flush=True)
sys.stdin.read()
client.close()
"""


def add_once(folder: Path) -> bool:
    """Open, add the hint, close; whether it was new."""

    async def adding() -> bool:
        async with await QdrantHintStore.open(folder, 2) as store:
            return await store.add(HINT, [1.0, 0.0])

    return asyncio.run(adding())


def made(folder: Path) -> Path:
    """A closed knowledge base with one hint; its database file."""
    assert add_once(folder)
    return folder / "collection" / "hints" / "storage.sqlite"


def refused(folder: Path, dimension: int = 2) -> str:
    """The message with which opening fails: one line that names the folder."""
    with pytest.raises(StoreError) as caught:
        asyncio.run(QdrantHintStore.open(folder, dimension))
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def replace_point(database: Path, point: bytes) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE points SET point = ?", (point,))


def test_a_second_opener_in_another_process_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        message = refused(tmp_path)
        assert "another process; close it there" in message
        assert "Qdrant server" in message
        holder.communicate("")
    assert add_once(tmp_path) is False


def test_another_vector_length_names_both_and_the_way_out(tmp_path: Path) -> None:
    made(tmp_path)
    message = refused(tmp_path, dimension=3)
    assert "vectors of length 2, not with an unnamed model and 3" in message
    assert "agentrec kb reembed" in message
    assert add_once(tmp_path) is False


def test_another_embedding_model_names_both_and_the_way_out(tmp_path: Path) -> None:
    async def adding(model: str) -> bool:
        async with await QdrantHintStore.open(tmp_path, 2, embedding_model=model) as store:
            return await store.add(HINT, [1.0, 0.0])

    assert asyncio.run(adding("minilm")) is True
    with pytest.raises(StoreError, match=r"made with minilm .* not with other .*kb reembed"):
        asyncio.run(adding("other"))
    assert asyncio.run(adding("")) is False
    assert asyncio.run(adding("minilm")) is False


def test_a_collection_of_another_make_is_refused(tmp_path: Path) -> None:
    client = QdrantClient(path=str(tmp_path))
    euclid = models.VectorParams(size=2, distance=models.Distance.EUCLID)
    client.create_collection("hints", vectors_config=euclid)
    client.close()
    assert "not made by a hint store" in refused(tmp_path)


def test_points_that_are_no_hints_are_refused(tmp_path: Path) -> None:
    client = QdrantClient(path=str(tmp_path))
    cosine = models.VectorParams(size=2, distance=models.Distance.COSINE)
    client.create_collection("hints", vectors_config=cosine)
    client.upsert("hints", [models.PointStruct(id=1, vector=[1, 0], payload={"number": 0})])
    client.close()
    assert "incomplete" in refused(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"collections": {"hints": {"vectors": 7}}}'])
def test_a_damaged_description_is_refused(tmp_path: Path, text: str) -> None:
    made(tmp_path)
    (tmp_path / "meta.json").write_text(text)
    assert "cannot be read" in refused(tmp_path)


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    database = made(tmp_path)
    database.write_bytes(b"\x00garbage" * 512)
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("point", [b"", b"nonsense", pickle.dumps({"id": 1})])
def test_a_damaged_point_is_refused(tmp_path: Path, point: bytes) -> None:
    replace_point(made(tmp_path), point)
    refused(tmp_path)


def test_a_point_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (trace,)

    replace_point(made(tmp_path), pickle.dumps(Trap()))
    assert "run code" in refused(tmp_path)
    assert not trace.exists()


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "hints"
    file.write_text("x")
    assert "this is a file" in refused(file)
    refused(file / "below")


def test_what_a_kill_during_the_first_opening_leaves_is_opened(tmp_path: Path) -> None:
    (tmp_path / "meta.json").touch()
    assert add_once(tmp_path) is True
