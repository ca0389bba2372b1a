import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from agentrec.errors import InputError
from agentrec.policies.rewards.reward_table import RewardTable

NAN = float("nan")
HEADER = '{"format":"agentrec-reward-table-2","hint_ids":["a","b"],"lines":COUNT}'
Line = tuple[str | None, int, str | None, float]
LINES: Sequence[Line] = [("s", 0, None, 0.5), ("s", 0, "a", 1.0), ("t", 0, None, 0.0)]


@pytest.fixture
def table() -> RewardTable:
    """Rows and hints out of order, draws, and a row, a hint and an end without measurements."""
    ndcg = np.array(
        [[0.5, 1, NAN, 0], [0.25, NAN, NAN, NAN], [0, 0, NAN, NAN], [1 / 3, NAN, NAN, 0.1]],
        dtype=np.float32,
    )
    return RewardTable(("z", "ü", "z", "a"), ("q", "never", "b"), ndcg, (1, 0, 0, 7))


def write(file: Path, lines: Sequence[Line], header: str | None = HEADER) -> None:
    columns = list(zip(*lines, strict=True)) if lines else [(), (), (), ()]
    types = (pyarrow.string(), pyarrow.int32(), pyarrow.string(), pyarrow.float32())
    names = ("session_id", "draw", "hint_id", "ndcg")
    schema = pyarrow.schema(
        [
            pyarrow.field(name, kind, nullable=name == "hint_id")
            for name, kind in zip(names, types, strict=True)
        ],
        metadata=header and {"agentrec": header.replace("COUNT", str(len(lines)))},
    )
    arrays = [pyarrow.array(c, t) for c, t in zip(columns, types, strict=True)]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)


def assert_same(one: RewardTable, other: RewardTable) -> None:
    assert (one.session_ids, one.draws) == (other.session_ids, other.draws)
    assert one.hint_ids == other.hint_ids
    assert one.ndcg.dtype == other.ndcg.dtype
    np.testing.assert_array_equal(one.ndcg, other.ndcg)


def test_a_saved_table_comes_back_whole(table: RewardTable, tmp_path: Path) -> None:
    file = tmp_path / "new" / "rewards.parquet"
    table.save(file)
    assert_same(RewardTable.load(file), table)
    table.with_hints(("b",)).save(file)
    assert RewardTable.load(file).hint_ids == ("b",)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_table_of_random_cells_comes_back_whole(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    ndcg = generator.random((400, 31)).astype(np.float32)
    ndcg[:, 1:][generator.random((400, 30)) < 0.7] = NAN
    ids = [f"session-{number}" for number in generator.permutation(400) // 2]
    draws = tuple(ids[:row].count(ids[row]) for row in range(400))
    table = RewardTable(tuple(ids), tuple(f"hint-{n}" for n in range(30)), ndcg, draws)
    table.save(tmp_path / "random.parquet")
    assert_same(RewardTable.load(tmp_path / "random.parquet"), table)


@pytest.mark.parametrize("hint_ids", [(), ("a",)])
def test_a_table_without_sessions_can_be_saved(hint_ids: tuple[str, ...], tmp_path: Path) -> None:
    table = RewardTable((), hint_ids, np.zeros((0, 1 + len(hint_ids)), np.float32))
    table.save(tmp_path / "none")
    assert_same(RewardTable.load(tmp_path / "none"), table)


def test_the_same_table_is_the_same_file(table: RewardTable, tmp_path: Path) -> None:
    table.save(tmp_path / "one")
    RewardTable.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_others_read_a_line_for_each_measured_option(table: RewardTable, tmp_path: Path) -> None:
    table.save(tmp_path / "rewards.parquet")
    lines = parquet.read_table(tmp_path / "rewards.parquet").to_pylist()
    assert len(lines) == table.measured.sum()
    assert lines[0] == {"session_id": "z", "draw": 1, "hint_id": None, "ndcg": 0.5}
    assert lines[1] == {"session_id": "z", "draw": 1, "hint_id": "q", "ndcg": 1.0}
    described = parquet.ParquetFile(tmp_path / "rewards.parquet").metadata
    assert described.row_group(0).column(0).compression == "ZSTD"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as missing:
        RewardTable.load(tmp_path / "rewards.parquet")
    assert missing.value.file == tmp_path / "rewards.parquet"
    with pytest.raises(InputError, match="cannot be read"):
        RewardTable.load(tmp_path)


def test_a_broken_file_is_named(table: RewardTable, tmp_path: Path) -> None:
    file = tmp_path / "rewards.parquet"
    table.save(file)
    whole = file.read_bytes()
    for broken in (b"", whole[:-1], whole[:20], b"{}", b"PAR1", b"PAR1" + bytes(40) + b"PAR1"):
        file.write_bytes(broken)
        with pytest.raises(InputError, match="not a whole reward table") as caught:
            RewardTable.load(file)
        assert "\n" not in str(caught.value)
        assert caught.value.file == file


def read_or_refusal(file: Path) -> RewardTable | str:
    try:
        return RewardTable.load(file)
    except InputError as error:
        return str(error)


def test_a_changed_byte_never_changes_a_reward(table: RewardTable, tmp_path: Path) -> None:
    file = tmp_path / "rewards.parquet"
    table.save(file)
    whole = file.read_bytes()
    refusals = []
    # Every third byte: each part of the file is hit.
    tried = range(0, len(whole), 3)
    for position in tried:
        broken = bytearray(whole)
        broken[position] ^= 0x15
        file.write_bytes(bytes(broken))
        came = read_or_refusal(file)
        if isinstance(came, str):
            refusals.append(came)
        else:
            np.testing.assert_array_equal(came.ndcg, table.ndcg)
    assert len(refusals) > len(tried) / 4
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("lines", "header", "says"),
    [
        (LINES, None, "header is not that"),
        (LINES, "{", "header is not that"),
        (LINES, '{"format":"agentrec-reward-table-2"}', "header is not that"),
        (LINES, HEADER.replace("table-2", "table-9"), "table-9"),
        (LINES, HEADER.replace("COUNT", "4"), r"not a whole reward table \(3 of 4 lines\)"),
        (LINES, HEADER.replace('"a"', '"c"'), "does not list the hint 'a'"),
        (LINES, HEADER.replace('"b"', '"a"'), "hint_ids name one id twice"),
        ([*LINES, ("u", 0, "a", 0.5)], HEADER, "session 'u' has no line for no hint"),
        ([*LINES, ("s", 1, "a", 0.5)], HEADER, "session 's' has no line for no hint"),
        ([("u", 0, "a", 0.5)], HEADER, "session 'u' has no line for no hint"),
        ([*LINES, ("s", 0, "a", 0.5)], HEADER, "twice"),
        ([*LINES, ("s", 0, None, 0.5)], HEADER, "twice"),
        ([*LINES, ("s", 0, "b", NAN)], HEADER, "no number"),
        ([*LINES, ("s", 0, "b", 1.5)], HEADER, "0 to 1"),
        ([*LINES, ("", 0, None, 0.5)], HEADER, "empty id"),
        ([*LINES, ("s", -1, None, 0.5)], HEADER, "draws are whole numbers"),
    ],
)
def test_a_file_of_something_else_is_named(
    lines: Sequence[Line], header: str | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "rewards.parquet"
    write(file, lines, header)
    with pytest.raises(InputError, match=says) as caught:
        RewardTable.load(file)
    assert caught.value.file == file
    assert "\n" not in str(caught.value)


def test_other_columns_are_named(tmp_path: Path) -> None:
    file = tmp_path / "rewards.parquet"
    for columns in ({"ndcg": [0.5]}, {"session_id": ["s"], "draw": [0], "hint_id": [None]}):
        other = pyarrow.table(columns).replace_schema_metadata(
            {"agentrec": HEADER.replace("COUNT", "1")}
        )
        parquet.write_table(other, file)
        with pytest.raises(InputError, match="columns are not those"):
            RewardTable.load(file)


def test_what_is_good_beside_the_broken_ones_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "good", LINES)
    expected = np.array([[0.5, 1, NAN], [0, NAN, NAN]], dtype=np.float32)
    assert_same(RewardTable.load(tmp_path / "good"), RewardTable(("s", "t"), ("a", "b"), expected))


def test_a_table_in_memory_does_not_wait_for_parquet() -> None:
    code = (
        "import sys, agentrec.policies.rewards.reward_table as module\n"
        "module.RewardTable(('s',), (), [[0.5]]).gains\n"
        "assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
