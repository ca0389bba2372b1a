import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from agentrec.errors import InputError
from agentrec.preferences import ChatTurn, PairProvenance, PreferencePair, PreferenceReward
from agentrec.stores.pairs.export import iterate_pairs, read_pairs, write_pairs
from agentrec.stores.pairs.records import COLUMNS, pair_to_row
from agentrec.stores.pairs.sinks import JsonlPreferenceSink
from agentrec.testing.preference_sink_conformance import numbered_pair

PROVENANCE = PairProvenance(
    model="m", reward_model="r", prompt_hash="p", temperature=0.7, samples=4, seed=7, run="x"
)
PROMPT = (
    ChatTurn(role="system", content="Describe."),
    ChatTurn(role="user", content="Task: preference\n<history>\n1. Vase\n</history>"),
)
PAIRS = [
    numbered_pair(1, prompt=PROMPT, provenance=PROVENANCE),
    numbered_pair(2, prompt=PROMPT, provenance=PROVENANCE, kind="structure", rejected_reward=None),
    numbered_pair(3, prompt=PROMPT, user_id="", chosen="“日本” 🎬\u2028\x00", rejected="a\r\nb"),
]
BOTH = pytest.mark.parametrize("ending", ["jsonl", "parquet"])
FORMS = pytest.mark.parametrize("form", ["conversational", "plain"])


def as_plain(pair: PreferencePair) -> PreferencePair:
    joined = "\n\n".join(turn.content for turn in pair.prompt)
    return pair.model_copy(update={"prompt": (ChatTurn(role="user", content=joined),)})


@BOTH
@FORMS
def test_written_pairs_are_read_back(tmp_path: Path, ending: str, form: str) -> None:
    file = tmp_path / "new" / f"pairs.{ending}"
    assert write_pairs(file, iter(PAIRS), form) == 3
    assert read_pairs(file) == (PAIRS if form == "conversational" else list(map(as_plain, PAIRS)))
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    before = file.read_bytes()
    write_pairs(file, PAIRS, form)
    assert file.read_bytes() == before


TEXTS = st.text(min_size=1, max_size=20)
REWARDS = st.builds(
    PreferenceReward,
    value=st.floats(0, 1),
    margin=st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def any_pair(draw: st.DrawFn) -> PreferencePair:
    better, worse = sorted(
        draw(st.lists(REWARDS, min_size=2, max_size=2, unique_by=lambda each: each.order)),
        key=lambda each: each.order,
        reverse=True,
    )
    chosen, rejected = draw(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
    kind = draw(st.sampled_from(["reward", "structure"]))
    return PreferencePair(
        session_id=draw(TEXTS),
        user_id=draw(st.text(max_size=5)),
        kind=kind,
        prompt=(
            *draw(st.lists(st.builds(ChatTurn, role=st.just("system"), content=TEXTS), max_size=2)),
            ChatTurn(role="user", content=draw(st.text(max_size=20))),
        ),
        chosen=chosen,
        rejected=rejected,
        chosen_reward=better,
        rejected_reward=worse if kind == "reward" or draw(st.booleans()) else None,
        provenance=PairProvenance(
            model=draw(st.text(max_size=5)),
            temperature=draw(st.floats(0, 2)),
            seed=draw(st.none() | st.integers(0, 2**63 - 1)),
            broken=draw(st.text(max_size=5)),
        ),
    )


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_pair(), min_size=1, max_size=4, unique_by=lambda pair: pair.pair_id))
def test_any_pairs_come_back_from_either_format(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[PreferencePair]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for ending in ("jsonl", "parquet"):
        file = folder / f"pairs.{ending}"
        write_pairs(file, pairs)
        assert read_pairs(file) == pairs


@BOTH
def test_the_columns_are_the_documented_ones(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"pairs.{ending}"
    write_pairs(file, PAIRS)
    if ending == "parquet":
        table = parquet.read_table(file)
        first = table.to_pylist()[0]
        assert table.schema.field("rejected_value").type == pyarrow.float64()
    else:
        first = json.loads(file.read_text(encoding="utf-8").split("\n")[0])
    assert list(first) == list(COLUMNS)
    assert first["prompt"] == [turn.model_dump() for turn in PROMPT]
    assert first["chosen"] == [{"role": "assistant", "content": "genre: drama (1)"}]
    assert first["rejected"] == [{"role": "assistant", "content": "genre: war (1)"}]
    assert (first["chosen_value"], first["rejected_value"], first["gap"]) == (0.5, 0.25, 0.25)
    assert first["margin_gap"] == pytest.approx(1 / 3)
    assert (first["model"], first["samples"], first["seed"]) == ("m", 4, 7)
    # TRL's reward trainer uses a column of that name in its loss.
    assert "margin" not in first


def test_a_plain_prompt_ends_where_an_answer_can_begin() -> None:
    row = pair_to_row(PAIRS[0], "plain")
    assert row["prompt"] == ("Describe.\n\nTask: preference\n<history>\n1. Vase\n</history>\n\n")
    assert (row["chosen"], row["rejected"]) == ("genre: drama (1)", "genre: war (1)")
    assert pair_to_row(PAIRS[1], "plain")["gap"] is None


@BOTH
def test_an_unpaired_surrogate_becomes_a_question_mark(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"pairs.{ending}"
    cut = numbered_pair(1, prompt=(ChatTurn(role="user", content="a\ud83c"),), user_id="\ud83c")
    write_pairs(file, [cut])
    (read,) = read_pairs(file)
    assert (read.prompt[0].content, read.user_id) == ("a?", "?")


async def test_a_sinks_file_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    async with await JsonlPreferenceSink.open(file) as sink:
        await sink.append(PAIRS)
    assert read_pairs(file) == PAIRS


def test_a_row_may_lack_optional_columns_and_have_unknown_ones(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    row = {
        "prompt": "Task",
        "chosen": "a",
        "rejected": "b",
        "session_id": "s",
        "chosen_value": 1,
        "rejected_value": 0,
        "model": "m",
        "margin": "theirs",
        "nested": {"deep": [1]},
    }
    file.write_text(json.dumps(row) + "\n\n")
    (pair,) = read_pairs(file)
    assert pair.prompt == (ChatTurn(role="user", content="Task"),)
    assert (pair.kind, pair.user_id, pair.gap) == ("reward", "", 1.0)


def changed(**fields: object) -> dict[str, object]:
    row = pair_to_row(PAIRS[0], "conversational") | fields
    return {name: value for name, value in row.items() if value != "removed"}


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"prompt": "removed"}, "prompt", "is missing"),
        ({"prompt": None}, "prompt", "is null"),
        ({"prompt": []}, "prompt", "at least 1"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, "prompt.0.role", "Input should be"),
        ({"prompt": [{"role": "user"}]}, "prompt.0.content", "Field required"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, None, "the user's"),
        ({"prompt": 7}, "prompt", "valid"),
        ({"chosen": "removed"}, "chosen", "is missing"),
        ({"chosen": "a text"}, "chosen", "one message"),
        ({"chosen": []}, "chosen", "one message"),
        ({"chosen": [{"role": "user", "content": "x"}]}, "chosen", "one message"),
        ({"chosen": [{"role": "assistant", "content": 1}]}, "chosen.0.content", "a text"),
        ({"rejected": [{"role": "assistant", "content": ""}]}, "rejected", "at least 1"),
        ({"rejected": PAIRS[0].chosen}, "rejected", "one message"),
        ({"prompt": "x"}, "chosen", "the prompt is a text"),
        ({"session_id": "removed"}, "session_id", "is missing"),
        ({"session_id": 7}, "session_id", "valid string"),
        ({"chosen_value": "removed"}, "chosen_value", "is missing"),
        ({"chosen_value": "much"}, "chosen_value", "valid number"),
        ({"chosen_value": 1.5}, "chosen_value", "less than or equal to 1"),
        ({"rejected_value": None}, "rejected_value", "is null"),
        ({"chosen_value": 0.1}, None, "needs a higher reward"),
        ({"kind": "other"}, "kind", "Input should be"),
        ({"model": "removed"}, "model", "is missing"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"samples": 1.5}, "samples", "integer"),
        ({"pair_id": "0" * 16}, "pair_id", "is not the id"),
    ],
)
def test_an_error_names_line_and_field(
    tmp_path: Path, fields: dict[str, object], field: str | None, problem: str
) -> None:
    file = tmp_path / "pairs.jsonl"
    good = json.dumps(pair_to_row(PAIRS[1], "conversational"))
    file.write_text(f"{good}\n{json.dumps(changed(**fields))}\n")
    with pytest.raises(InputError, match=problem) as caught:
        read_pairs(file)
    assert (caught.value.file, caught.value.line, caught.value.field) == (file, 2, field)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"not json\n", ":1: is not valid JSON"),
        (b'"text"\n', ":1: is not a JSON object"),
        (b'{"a": "\xff"}\n', "not UTF-8"),
        (b"{}\n" + b"x" * (4 * 2**20 + 1), ":2: is longer than"),
        (b'{"chosen_reward": {}}\n', "field 'session_id': Field required"),
        (b'{"chosen_reward": {}, "x\\u001b": 1}\n', "Field required"),
        (b"{}\n", "field 'prompt': is missing"),
    ],
)
def test_a_broken_data_set_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        read_pairs(file)
    assert str(caught.value).isprintable()


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.parquet"
    write_pairs(file, PAIRS)
    whole = file.read_bytes()
    table = parquet.read_table(file)
    for content in (b"", b"PAR1", whole[:-9], whole[:400] + b"\0" * 40 + whole[440:]):
        file.write_bytes(content)
        with pytest.raises(InputError, match="is not a whole Parquet file"):
            read_pairs(file)
    parquet.write_table(table.drop_columns("chosen_value"), file)
    with pytest.raises(InputError, match="field 'chosen_value': is missing"):
        read_pairs(file)
    parquet.write_table(table.slice(0, 0), file)
    with pytest.raises(InputError, match="holds no pair"):
        read_pairs(file)
    wrong = table.set_column(3, "pair_id", pyarrow.array([PAIRS[0].pair_id, "x", None]))
    parquet.write_table(wrong.append_column("mine", pyarrow.array([1, 2, 3])), file)
    with pytest.raises(InputError, match=r"pairs.parquet:2, field 'pair_id': is not the id"):
        read_pairs(file)


@BOTH
def test_a_repeated_pair_is_refused(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"pairs.{ending}"
    write_pairs(file, [*PAIRS, PAIRS[1]])
    reading = iterate_pairs(file)
    assert [next(reading) for _ in PAIRS] == PAIRS
    with pytest.raises(InputError, match=":4: repeats the pair of line 2"):
        next(reading)


def test_a_file_that_cannot_be_written_or_found_is_an_error(tmp_path: Path) -> None:
    for file in (tmp_path / "pairs.csv", tmp_path / "pairs"):
        with pytest.raises(InputError, match=r"ends in .jsonl or .parquet"):
            write_pairs(file, PAIRS)
        with pytest.raises(InputError, match=r"ends in .jsonl or .parquet"):
            read_pairs(file)
    with pytest.raises(InputError, match="no pair to write"):
        write_pairs(tmp_path / "pairs.jsonl", [])
    (tmp_path / "file").touch()
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_pairs(tmp_path / "file" / "pairs.jsonl", PAIRS)
    with pytest.raises(InputError, match="is not a file"):
        read_pairs(tmp_path / "folder.jsonl")
    for ending in ("jsonl", "parquet"):
        with pytest.raises(InputError, match="is missing"):
            read_pairs(tmp_path / f"none.{ending}")


@BOTH
@FORMS
def test_the_datasets_library_reads_it(tmp_path: Path, ending: str, form: str) -> None:
    datasets = pytest.importorskip("datasets")
    file = tmp_path / f"pairs.{ending}"
    write_pairs(file, PAIRS, form)
    name = {"jsonl": "json"}.get(ending, ending)
    loaded = datasets.load_dataset(
        name, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert list(loaded) == [pair_to_row(pair, form) for pair in PAIRS]
