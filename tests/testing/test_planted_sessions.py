from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from agentrec.data import Dataset, load_folder
from agentrec.testing.planted_sessions import (
    EARLIEST,
    KINDS,
    LATEST,
    PlantedSessions,
    write_planted_sessions,
)


def written(folder: Path, **options: object) -> tuple[PlantedSessions, Dataset]:
    planted = write_planted_sessions(folder, **options)  # type: ignore[arg-type]
    return planted, load_folder(folder)


def gain_of_preferring_late(planted: PlantedSessions, dataset: Dataset, wish: str) -> float:
    """Mean NDCG@10 of ranking by the scale, minus that of a random order."""
    gains = []
    for session in dataset.train:
        if planted.wishes[session.session_id] == wish:
            ordered = sorted(session.candidates, key=lambda i: -planted.years[i])
            rank = ordered.index(session.target or "") + 1
            chance = sum(1 / np.log2(r + 1) for r in range(1, 11)) / len(ordered)
            gains.append((1 / np.log2(rank + 1) if rank <= 10 else 0.0) - chance)
    return float(np.mean(gains))


def test_it_is_read_without_a_note_and_has_the_sizes_asked_for(tmp_path: Path) -> None:
    planted, dataset = written(tmp_path / "a" / "b", num_train=40, num_valid=9, num_test=7)
    assert [len(sessions) for _, sessions in dataset.splits()] == [40, 9, 7]
    assert len(dataset.catalog) == 120
    assert dataset.notes == ()
    assert set(planted.wishes) == {s.session_id for _, group in dataset.splits() for s in group}
    assert set(planted.years) == set(dataset.catalog)
    for session in dataset.train:
        assert len(session.candidates) == 20
        assert not set(session.items) & set(session.candidates)
    for item in dataset.catalog.values():
        assert item.attributes["kind"] in KINDS
        assert item.attributes["year"] == planted.years[item.item_id]
        assert EARLIEST <= planted.years[item.item_id] <= LATEST


@pytest.mark.parametrize("titles_only", [False, True])
def test_one_preference_helps_one_half_and_harms_the_other(
    tmp_path: Path, titles_only: bool
) -> None:
    planted, dataset = written(tmp_path, num_train=200, titles_only=titles_only)
    assert gain_of_preferring_late(planted, dataset, "late") > 0.3
    assert gain_of_preferring_late(planted, dataset, "early") < -0.15


def test_without_predictability_it_helps_nobody(tmp_path: Path) -> None:
    planted, dataset = written(tmp_path, num_train=600, predictability=0.0)
    for wish in ("late", "early"):
        assert abs(gain_of_preferring_late(planted, dataset, wish)) < 0.06


def test_which_half_a_session_belongs_to_shows_in_its_history(tmp_path: Path) -> None:
    planted, dataset = written(tmp_path)
    agreed = 0
    for session in dataset.train:
        kinds = Counter(dataset.catalog[i].attributes["kind"] for i in session.items)
        late = kinds["garden"] + kinds["kitchen"] > kinds["travel"] + kinds["music"]
        agreed += planted.wishes[session.session_id] == ("late" if late else "early")
    assert agreed > 0.93 * len(dataset.train)
    assert 0.3 < np.mean([wish == "late" for wish in planted.wishes.values()]) < 0.7


def test_titles_alone_say_kind_and_age(tmp_path: Path) -> None:
    planted, dataset = written(tmp_path, titles_only=True)
    for item in dataset.catalog.values():
        assert item.attributes == {}
        late = planted.years[item.item_id] > (EARLIEST + LATEST) / 2
        assert item.title.startswith("Modern " if late else "Antique ")


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    hashes = [written(tmp_path / str(n), seed=n // 2)[1].content_hash for n in range(4)]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


@pytest.mark.parametrize(
    "options",
    [{"predictability": 1.1}, {"predictability": -0.1}, {"num_candidates": 4}, {"num_items": 26}],
)
def test_impossible_sizes_are_refused(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"predictability|candidates"):
        write_planted_sessions(tmp_path / "new", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
