import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentrec.llm.answers.answer_schemas import ProposedHints, RankedCandidates
from agentrec.llm.answers.json_answers import find_list
from agentrec.llm.answers.parsing import parse_lines, parse_ranking
from agentrec.llm.prompts.session_view import SessionView
from agentrec.testing.faulty_server import GARBAGE

LABELS = (*(f"Film {letter}" for letter in "ABCDEFGH"), 'Say "Hi", [x]', "3. film")
TEN = SessionView("s", (), tuple(f"i{n}" for n in range(1, 11)), LABELS)
WHOLE = '{"ranking": ["C07", "C02", "C10"]}'


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        '["C07", "C02", "C10"]',
        f"```json\n{WHOLE}\n```",
        f"```\n{WHOLE}\n```\nHope this helps!",
        f"```json {WHOLE} ```",
        f"Here is my ranking:\n\n{WHOLE}",
        f"Sure, here it is: {WHOLE}",
        '{\n  "ranking": [\n    "C07",\n    "C02",\n    "C10"\n  ]\n}',
        '{"reasons": ["likes C01", "C03"], "ranking": ["C07", "C02", "C10"]}',
        '{"Ranking": ["c7", "[C02]", "(C010)"]}',
        '{"ranking": ["C07 | Film G", "2. C02 | Film B", "**C10**"]}',
        '{"ranking": ["Film G", "2. film b", "3. film"]}',
        '{"ranking": ["film g (1999)", "Film B.", "C10"]}',
        '{"ranking": [{"handle": "C07", "title": "Film A"}, {"title": "x", "id": "C02"}, ["C9"],'
        ' {"place": 3, "handle": "C10"}]}',
        '{"items": [{"title": "Film G"}, {"title": "Film B"}, {"title": "C10"}]}',
        '{"ranking": {"1": "C07", "2": "C02", "3": "C10"}}',
        '{"1": "C07", "2": "C02", "3": "C10"}',
        '{"ranking": {"C07": 0.9, "C02": 0.5, "C10": "low"}}',
        '{"ranking": "1. C07 | x\\n2. C02\\n3. C10"}',
        '{"notes": {"1": "C03"}, "items": ["C07", "C02", "C10"]}',
        '{"result": {"ranking": ["C07", "C02", "C10"]}, "notes": {"1": "C03"}}',
        "{'ranking': ['C07', 'C02', 'C10']}",
        "[C07, C02, C10]",
        '{"ranking": ["C07", "C02", "C10",],}',
        '{"ranking": ["C07" "C02" "C10"]} trailing { "ranking": ["C01"]}',
        '{"thought": "\\u0041 \\"x\\" {[", "ranking": ["C07", "\\u0043\\u00302", "C10"]}',
        '{"ranking": []}\n{"ranking": ["C07", "C02", "C10"]}',
    ],
)
def test_many_forms_of_one_list(answer: str) -> None:
    parsed = parse_ranking(answer, TEN)
    assert parsed.item_ids == ("i7", "i2", "i10")
    assert parsed.structured
    assert parsed.illegal == answer.count('["C9"]')


def test_what_the_schema_asks_for_is_read() -> None:
    answer = RankedCandidates(ranking=["C03", "C01"]).model_dump_json()
    assert parse_ranking(answer, TEN).item_ids == ("i3", "i1")
    hints = ProposedHints(hints=["Prefer old films.", "Avoid sequels."])
    assert parse_lines(hints.model_dump_json(), 5) == hints.hints


@pytest.mark.parametrize("schema", [RankedCandidates, ProposedHints])
def test_schemas_describe_every_field_and_allow_no_other(
    schema: type[RankedCandidates] | type[ProposedHints],
) -> None:
    json_schema = schema.model_json_schema()
    assert json_schema["description"]
    assert json_schema["additionalProperties"] is False
    assert all(field["description"] for field in json_schema["properties"].values())
    assert json_schema["required"] == list(json_schema["properties"])


def test_elements_that_name_no_candidate_are_counted() -> None:
    answer = '{"ranking": ["C07", "C11", "Shrek", "C07", 7, null, {}, "Film", "C00", "C02"]}'
    parsed = parse_ranking(answer, TEN)
    assert (parsed.item_ids, parsed.illegal) == (("i7", "i2"), 8)


def test_a_title_with_signs_of_json_is_a_title() -> None:
    answer = json.dumps({"ranking": [LABELS[8], "C01"]})
    assert parse_ranking(answer, TEN).item_ids == ("i9", "i1")


@pytest.mark.parametrize(
    "row",
    [
        '1. C03 | {"ranking": ["C05"]}',
        'C03 | {"ranking": ["C05"]}',
        '- C03: {"ranking": ["C05"]}',
        '**C03** {"ranking": ["C05"]}',
        '3) Film C {"ranking": ["C05"]}',
        '1. C03 | ["C05", "C06"]',
        "[C03] Film C\n[C04] Film D",
        "[C03], [C04]",
    ],
)
def test_a_row_of_a_list_hides_no_answer_in_its_title(row: str) -> None:
    parsed = parse_ranking(row, TEN)
    assert "i5" not in parsed.item_ids
    assert not parsed.structured


@pytest.mark.parametrize("end", range(len(WHOLE) + 1))
def test_a_list_cut_off_anywhere_keeps_its_complete_elements(end: int) -> None:
    parsed = parse_ranking(WHOLE[:end], TEN)
    complete = sum(end >= WHOLE.index(handle) + 4 for handle in ("C07", "C02", "C10"))
    assert parsed.item_ids == ("i7", "i2", "i10")[:complete]
    assert parsed.illegal == 0


def test_a_title_cut_off_is_not_another_title() -> None:
    view = SessionView("s", (), ("i1", "i2"), ("Heat", "Heathers"))
    assert parse_ranking('{"ranking": ["Heathers", "Heat', view).item_ids == ("i2",)
    assert parse_ranking('{"ranking": [{"title": "Heat", "why": "a', view).item_ids == ()
    numbers = SessionView("s", (), ("i1", "i2"), ("200", "20"))
    assert parse_ranking("[C01, 20", numbers).item_ids == ("i1",)


def test_malformed_json_with_more_in_its_lines_is_read_by_lines() -> None:
    answer = '{"ranking": [\n"C07",\n"C02,\n"C10"\n'
    parsed = parse_ranking(answer, TEN)
    assert (parsed.item_ids, parsed.structured) == (("i7", "i2", "i10"), False)
    mixed = '{"ranking": ["Shrek"]}\n1. C01\n2. C02'
    assert parse_ranking(mixed, TEN).item_ids == ("i1", "i2")


NUMBERED = "1. C07\n2. C02\n3. C10"


@pytest.mark.parametrize(
    "before",
    ["[]", "{}", "{", "[", '{"a": "b"}', '{"a": {"b": {"c": 1}}}', "[1, 2]", '["', "{{{{", '[["'],
)
def test_what_is_no_list_leaves_the_lines_to_be_read(before: str) -> None:
    parsed = parse_ranking(f"{before}\n{NUMBERED}", TEN)
    assert (parsed.item_ids, parsed.structured) == (("i7", "i2", "i10"), False)


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ('{"hints": ["Prefer old films.", "Avoid sequels."]}', 2),
        ('```json\n["Prefer old films.", "Avoid sequels."]\n```', 2),
        ('{"hints": ["1. Prefer old films.", "- Avoid sequels.", "avoid sequels."]}', 2),
        ('{"hints": [{"hint": "Prefer old films.", "why": "x"}, {"hint": "Avoid sequels."}]}', 2),
        ('{"hints": ["**Prefer** old\\n films.", "", null, "Avoid sequels.', 1),
        ('{"hints": ["Prefer old films.", "Avoid sequels.", "Av', 2),
    ],
)
def test_hints(answer: str, texts: int) -> None:
    assert parse_lines(answer, 9) == ["Prefer old films.", "Avoid sequels."][:texts]
    assert parse_lines(answer, 1) == ["Prefer old films."]


HOSTILE = [
    "{" * 100_000,
    '{"' * 50_000,
    '["' * 50_000,
    '{"a":' * 20_000,
    "[" * 100_000,
    "[[" + '"C01",' * 20_000,
    "{\n" * 50_000,
    '{"ranking": ["' + "a" * 100_000,
    '{"ranking": ["' + "\\" * 100_000,
    '{"ranking": [' + " " * 100_000,
    "{" + "\n" * 100_000,
    " " * 100_000 + "{",
    ("a" * 200 + "\n") * 500,
    '{"ranking": [' + '"x",' * 25_000,
    '["C01"\n' * 15_000,
    "{'" + "b" * 100_000,
    "[C01," * 20_000,
    *GARBAGE,
]


@pytest.mark.parametrize("garbage", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_take_linear_time(garbage: str) -> None:
    start = time.thread_time()
    parsed = parse_ranking(garbage, TEN)
    parse_lines(garbage, 5)
    # Of computing, not of waiting: a busy machine has no say in it.
    assert time.thread_time() - start < 1.5
    assert len(parsed.item_ids) <= 1


ELEMENTS = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-5, 20),
        st.text(max_size=8),
        st.sampled_from(["C01", "C07 | Film G", "3. C02", "Film A", "C99", "film b", "\ud83d"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.sampled_from(["ranking", "a", "1", "C05"]), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(ELEMENTS, st.integers(0, 400), st.sampled_from(["", "```json\n", "Here:\n"]))
@example({"ranking": ["C01", "C01", "Film A"]}, 400, "")
def test_whatever_is_answered_the_result_is_unique_candidates(
    value: object, end: int, before: str
) -> None:
    parsed = parse_ranking((before + json.dumps(value))[:end], TEN)
    assert len(set(parsed.item_ids)) == len(parsed.item_ids)
    assert set(parsed.item_ids) <= set(TEN.candidate_ids)
    assert parsed.illegal >= 0
    lines = parse_lines((before + json.dumps(value))[:end], 4)
    assert all(line.strip() and len(line.splitlines()) == 1 for line in lines)


@given(st.text(alphabet="{}[]\",:'\\ \nC017abn", max_size=60))
def test_any_signs_of_json_are_read_to_an_end(answer: str) -> None:
    found = find_list(answer, "ranking")
    assert found is None or found.elements
    parsed = parse_ranking(answer, TEN)
    assert set(parsed.item_ids) <= set(TEN.candidate_ids)


@given(st.permutations(range(10)), st.integers(1, 10), st.booleans())
def test_every_list_of_handles_or_labels_is_read_back(
    order: list[int], length: int, by_label: bool
) -> None:
    chosen = order[:length]
    rows = [LABELS[n] if by_label else f"C{n + 1:02d}" for n in chosen]
    parsed = parse_ranking(json.dumps({"ranking": rows}), TEN)
    assert parsed.item_ids == tuple(f"i{n + 1}" for n in chosen)
    assert (parsed.illegal, parsed.structured) == (0, True)
