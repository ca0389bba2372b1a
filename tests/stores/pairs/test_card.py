from pathlib import Path

import pytest
import yaml

from agentrec.errors import InputError
from agentrec.preferences import PairProvenance
from agentrec.stores.pairs.card import card_text, write_card
from agentrec.stores.pairs.export import write_pairs
from agentrec.stores.pairs.records import COLUMNS, pair_to_row
from agentrec.stores.pairs.statistics import PairStatistics
from agentrec.testing.preference_sink_conformance import numbered_pair

PROVENANCE = PairProvenance(
    model="ollama:my_model", reward_model="abc", temperature=0.7, samples=4, seed=7, run="first"
)
PAIRS = [
    *(numbered_pair(number, provenance=PROVENANCE) for number in range(5)),
    numbered_pair(
        0,
        kind="structure",
        rejected_reward=None,
        rejected="genre drama",
        provenance=PROVENANCE.model_copy(update={"broken": "lines merged"}),
    ),
]
STATISTICS = PairStatistics.of(PAIRS, {"gap too small": 1_200, "target title leaked": 3})
HOSTILE = "x | y\n---\n# <script>`[a](http://evil.example)` ![b](c) **d** \x1b[2J @team"


def front_of(text: str) -> dict[str, object]:
    _, front, _ = text.split("---\n", 2)
    loaded = yaml.safe_load(front)
    assert isinstance(loaded, dict)
    return loaded


def test_a_card_shows_the_statistics(tmp_path: Path) -> None:
    export = tmp_path / "pairs.jsonl"
    write_pairs(export, PAIRS)
    card = write_card(export, STATISTICS, "conversational")
    assert card == tmp_path / "README.md"
    text = card.read_text(encoding="utf-8")
    for line in (
        "| pairs | 6 |",
        "| of kind reward | 5 |",
        "| of kind structure | 1 |",
        "| broken: lines merged | 1 |",
        "| sessions | 5 |",
        "| known users | 3 |",
        "| gap too small | 1,200 |",
        "| target title leaked | 3 |",
        "| gap | 5 | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 |",
        "| model | ollama:my_model | 6 |",
        "| reward model | abc | 6 |",
        "| prompt hash | unknown | 6 |",
        "| temperature | 0.7 | 6 |",
        "| seed | 7 | 6 |",
        "| run | first | 6 |",
        "## Intended use and limits",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("form", ["conversational", "plain"])
def test_the_front_matter_fits_the_hub(form: str) -> None:
    front = front_of(card_text("pairs.parquet", STATISTICS, form))
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "pairs.parquet"}]}
    ]
    assert front["size_categories"] == ["n<1K"]
    assert front["task_categories"] == ["text-generation"]
    assert "trl" in front["tags"]
    features = front["dataset_info"]["features"]
    assert [feature["name"] for feature in features] == list(COLUMNS)
    assert ("list" in features[0]) == (form == "conversational")


def test_hostile_names_become_plain_words() -> None:
    provenance = PairProvenance(model=HOSTILE, run="-" * 5_000)
    statistics = PairStatistics.of([numbered_pair(1, provenance=provenance)], {HOSTILE: 2})
    text = card_text('a"\n---\nevil: 1\x1b.jsonl', statistics, "plain")
    front = front_of(text)
    assert "evil" not in front
    assert len(front["configs"]) == 1
    body = text.split("---\n", 2)[2]
    assert all(char not in body for char in "<>[]\x1b!")
    assert "://" not in body
    assert "**" not in body
    row = next(line for line in body.splitlines() if line.startswith("| model |"))
    assert row.count("|") == 4
    assert len(row) < 150
    assert len([line for line in body.splitlines() if line.startswith("#")]) == 6


def test_a_card_without_pairs_or_refusals() -> None:
    text = card_text("pairs.jsonl", PairStatistics.of([]), "plain")
    assert "| pairs | 0 |" in text
    assert "Not counted" in text


def test_another_readme_is_not_replaced(tmp_path: Path) -> None:
    export, readme = tmp_path / "pairs.jsonl", tmp_path / "README.md"
    readme.write_text("# My project\n")
    with pytest.raises(InputError, match="is not a data card"):
        write_card(export, STATISTICS, "plain")
    assert readme.read_text() == "# My project\n"
    readme.unlink()
    write_card(export, PairStatistics.of([]), "plain")
    write_card(export, STATISTICS, "plain")
    assert "| pairs | 6 |" in readme.read_text()
    readme.unlink()
    readme.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_card(export, STATISTICS, "plain")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_datasets_library_takes_types_from_the_card(tmp_path: Path, ending: str) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "export"
    # The first row's rejected text has no value.
    pairs = PAIRS[::-1]
    write_pairs(folder / f"pairs.{ending}", pairs)
    write_card(folder / f"pairs.{ending}", PairStatistics.of(pairs), "conversational")
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == [pair_to_row(pair, "conversational") for pair in pairs]
    assert {name: feature.dtype for name, feature in list(loaded.features.items())[3:]} == {
        name: {"double": "float64"}.get(kind, kind) for name, kind in list(COLUMNS.items())[3:]
    }
