import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrec.graphs.preferences.pairing import StructureCheck
from agentrec.llm.answers.preference_statements import parse_preference
from agentrec.testing.faulty_server import GARBAGE

FACTORS = ("colour", "Price range", "period")
CHECK = StructureCheck(FACTORS)


@pytest.mark.parametrize(
    "text",
    [
        "colour: dark tones (Black lamp, Vase (1995))",
        "colour: dark\nprice range: low (3 of 4 below 10)\nPeriod: old (Vase)",
        "1. **Colour**: dark (Black lamp).\n2. period： old",
        "(1) colour: dark (a)\n- period: old: the older the better",
        # A factor's name in the evidence begins no statement.
        "colour: dark (the film period: 1900)",
        "colour: of any period (Vase)",
    ],
)
def test_whole_texts(text: str) -> None:
    assert CHECK.fault(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "too few statements"),
        ("The user likes dark tones.", "a line is no statement"),
        ("Here you are:\ncolour: dark", "a line is no statement"),
        ("colour: dark\n\nperiod: old", "a line is no statement"),
        ("colour: dark\nmood: any", "a line is no statement"),
        ("colour: dark\nperiod:", "a line is no statement"),
        ("colour: dark\nperiod: (Vase)", "a line is no statement"),
        ("colour: dark (a) period: old (b)", "two statements stand in a line"),
        ("colour: dark; **Price range**: low", "two statements stand in a line"),
        ("colour: dark (Black la", "brackets do not pair"),
        ("colour: dark Black lamp)", "brackets do not pair"),
        ("colour: dark )a(", "brackets do not pair"),
        ("colour: dark\nColour: red", "a factor comes twice"),
        ('{"preferences": ["colour: dark"]}', "a line is no statement"),
        ('colour: dark {"preferences": ["colour: dark"]}', "a line is no statement"),
        (f"colour: {'dark ' * 200}", "a line is no statement"),
    ],
)
def test_what_is_broken_is_named(text: str, fault: str) -> None:
    assert CHECK.fault(text) == fault


def test_evidence_and_statements_can_be_asked_for() -> None:
    text = "colour: dark (a)\nperiod: old"
    assert StructureCheck(FACTORS, min_statements=2).fault(text) is None
    assert StructureCheck(FACTORS, min_statements=3).fault(text) == "too few statements"
    strict = StructureCheck(FACTORS, require_evidence=True)
    assert strict.fault(text) == "evidence is missing"
    assert strict.fault("colour: dark (a)\nperiod: old (b)") is None


def test_there_are_factors_and_statements() -> None:
    for factors in ((), (" ",)):
        with pytest.raises(ValueError, match="at least one factor"):
            StructureCheck(factors)
    with pytest.raises(ValueError, match="min_statements"):
        StructureCheck(FACTORS, min_statements=0)


def test_factors_are_no_patterns() -> None:
    check = StructureCheck(("a.c", "x (y)"))
    assert check.fault("a.c: abc: yes") is None
    assert check.fault("a.c: x a.c: y") == "two statements stand in a line"


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                ["colour: a (b)", "Period: c", "{", "price range: (d) e", "1. period: f"]
            ),
        ),
        max_size=4,
    ).map("\n".join)
)
def test_the_recommender_can_read_every_line_of_a_whole_text(text: str) -> None:
    if CHECK.fault(text) is None:
        assert len(parse_preference(text, FACTORS)) == len(text.splitlines()) > 0


@pytest.mark.parametrize(
    "garbage",
    [*GARBAGE, "colour: " + "(" * 100_000, "colour: period" * 20_000, "colour:x\n" * 20_000],
    ids=range(len(GARBAGE) + 3),
)
def test_hostile_texts_take_no_time(garbage: str) -> None:
    start = time.process_time()
    CHECK.fault(garbage)
    assert time.process_time() - start < 1.5
