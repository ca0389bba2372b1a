from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from agentrec.errors import InputError
from agentrec.policies.rewards.reward_table import RewardTable

NDCG = np.array([[0.5, 1.0, 0.0], [0.0, 0.25, 0.0], [1.0, 1.0, 0.5]], dtype=np.float32)


@pytest.fixture
def table() -> RewardTable:
    return RewardTable(("s0", "s1", "s2"), ("a", "b"), NDCG)


def test_a_gain_is_with_the_hint_minus_without(table: RewardTable) -> None:
    assert table.gains.tolist() == [[0, 0.5, -0.5], [0, 0.25, 0], [0, 0, -0.5]]


def test_what_went_in_cannot_change_what_is_inside(table: RewardTable) -> None:
    source = NDCG.copy()
    inside = RewardTable(("s0", "s1", "s2"), ("a", "b"), source)
    source[:] = 0
    assert np.array_equal(inside.ndcg, NDCG)
    with pytest.raises(ValueError, match="read-only"):
        inside.ndcg[0, 0] = 1


@pytest.mark.parametrize(
    ("sessions", "hints", "ndcg", "says"),
    [
        (("s", "s"), ("a",), np.zeros((2, 2)), "twice"),
        (("s", "t"), ("a", "a"), np.zeros((2, 3)), "twice"),
        (("s", ""), ("a",), np.zeros((2, 2)), "empty"),
        (("s",), ("a",), np.zeros((1, 1)), r"need \[1, 2\]"),
        (("s",), ("a",), np.zeros(2), r"need \[1, 2\]"),
        (("s",), ("a",), np.array([[0, 1.1]]), "0 to 1"),
        (("s",), ("a",), np.array([[-0.1, 1]]), "0 to 1"),
        (("s",), ("a",), np.array([[np.nan, 1]]), "failed call"),
    ],
)
def test_what_is_no_table_is_refused(
    sessions: tuple[str, ...], hints: tuple[str, ...], ndcg: npt.NDArray[np.float32], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        RewardTable(sessions, hints, ndcg)


def test_no_hint_stays_column_0_whatever_order_the_hints_come_in(table: RewardTable) -> None:
    turned = table.with_hints(("b", "a"))
    assert turned.hint_ids == ("b", "a")
    assert np.array_equal(turned.ndcg, NDCG[:, [0, 2, 1]])
    assert np.array_equal(turned.gains[:, 0], np.zeros(3))
    assert np.array_equal(table.with_hints(()).ndcg, NDCG[:, :1])
    with pytest.raises(ValueError, match="no hint 'c'"):
        table.with_hints(("c",))


def test_sessions_are_taken_by_id(table: RewardTable) -> None:
    assert np.array_equal(table.with_sessions(("s2", "s0")).ndcg, NDCG[[2, 0]])
    with pytest.raises(ValueError, match="no session 's9'"):
        table.with_sessions(("s9",))


def test_the_noise_control_parts_rewards_from_sessions_and_from_hints() -> None:
    ndcg = np.random.default_rng(0).random((2000, 4)).astype(np.float32)
    ndcg[:, 3] = 0.9 + 0.1 * ndcg[:, 3]  # the last hint is by far the best
    table = RewardTable(tuple(map(str, range(2000))), ("a", "b", "c"), ndcg)
    shuffled = table.shuffled_across_sessions(5)
    assert shuffled.session_ids == table.session_ids
    # Every row is some session's: "no hint" in its place, the hints' rewards in any order.
    rows = {(row[0], *sorted(row[1:])) for row in ndcg.tolist()}
    assert {(row[0], *sorted(row[1:])) for row in shuffled.ndcg.tolist()} == rows
    assert (shuffled.ndcg[:, 0] == ndcg[:, 0]).mean() < 0.05
    # No hint is better than another any more.
    means = shuffled.ndcg[:, 1:].mean(axis=0)
    assert means.max() - means.min() < 0.05
    assert ndcg[:, 1:].mean(axis=0).max() - ndcg[:, 1:].mean(axis=0).min() > 0.4
    assert np.array_equal(shuffled.ndcg, table.shuffled_across_sessions(5).ndcg)
    assert not np.array_equal(shuffled.ndcg, table.shuffled_across_sessions(6).ndcg)


def test_a_saved_table_comes_back_whole(table: RewardTable, tmp_path: Path) -> None:
    file = tmp_path / "new" / "rewards.safetensors"
    table.save(file)
    back = RewardTable.load(file)
    assert (back.session_ids, back.hint_ids) == (table.session_ids, table.hint_ids)
    assert np.array_equal(back.ndcg, table.ndcg)
    table.with_hints(("b",)).save(file)
    assert RewardTable.load(file).hint_ids == ("b",)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_table_without_sessions_or_hints_can_be_saved(tmp_path: Path) -> None:
    RewardTable((), (), np.zeros((0, 1), np.float32)).save(tmp_path / "none")
    assert RewardTable.load(tmp_path / "none").ndcg.shape == (0, 1)


def test_a_broken_file_is_named(table: RewardTable, tmp_path: Path) -> None:
    file = tmp_path / "rewards.safetensors"
    with pytest.raises(InputError, match="no such file") as missing:
        RewardTable.load(file)
    assert missing.value.file == file
    table.save(file)
    whole = file.read_bytes()
    for broken in (b"", whole[:-1], b"{}", whole[:20]):
        file.write_bytes(broken)
        with pytest.raises(InputError, match="not a whole reward table"):
            RewardTable.load(file)
    with pytest.raises(InputError, match="not a whole reward table"):
        RewardTable.load(tmp_path)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rewards.safetensors"
    header = '{"format":"agentrec-reward-table-1","session_ids":["s"],"hint_ids":["a"]}'
    good = np.zeros((1, 2), np.float32)
    for tensors, metadata, says in (
        ({"other": good}, {"table": header}, "not a whole"),
        ({"ndcg": good}, None, "header"),
        ({"ndcg": good}, {"table": "{"}, "header"),
        ({"ndcg": good}, {"table": header.replace("table-1", "table-9")}, "table-9"),
        ({"ndcg": good.astype(np.float64)}, {"table": header}, "float32"),
        ({"ndcg": good + 2}, {"table": header}, "0 to 1"),
        ({"ndcg": good[:, :1]}, {"table": header}, "need"),
    ):
        save_file(tensors, file, metadata=metadata)
        with pytest.raises(InputError, match=says) as caught:
            RewardTable.load(file)
        assert caught.value.file == file
