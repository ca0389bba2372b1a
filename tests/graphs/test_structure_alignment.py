import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrec.graphs.preference_structure import StructureCheck
from agentrec.graphs.structure_alignment import BREAKS, StructureAlignment
from agentrec.testing.preference_sink_conformance import numbered_pair

FACTORS = ("colour", "Price range", "period", "mood")
TEXT = "colour: dark tones (Black lamp, Vase (1995))\nPrice range: low (Cup)\nperiod: old (Vase)"
PLAIN = "colour: dark and red\nperiod: old"
CHECK = StructureCheck(FACTORS)
WORDS = st.text("abcdef ", min_size=1, max_size=20).filter(str.strip).map(str.strip)


def alignment(count: int = 6, seed: int = 0, **asked: object) -> StructureAlignment:
    return StructureAlignment(StructureCheck(FACTORS, **asked), count, seed)


@pytest.mark.parametrize("asked", [{}, {"require_evidence": True}, {"min_statements": 3}])
def test_a_text_with_evidence_is_broken_in_every_way(asked: dict[str, object]) -> None:
    made = alignment(**asked).variants(TEXT, "s")
    assert sorted(name for name, _ in made) == sorted(BREAKS)
    assert len({broken for _, broken in made}) == 6
    for _, broken in made:
        assert StructureCheck(FACTORS, **asked).fault(broken) is not None
        assert broken != TEXT
        assert max(len(broken), len(TEXT)) <= 2 * min(len(broken), len(TEXT))


def test_the_ways_do_what_their_names_say() -> None:
    made = dict(alignment(seed=3).variants(TEXT, "s"))
    assert made["factor names dropped"] == (
        "dark tones (Black lamp, Vase (1995))\nlow (Cup)\nold (Vase)"
    )
    assert "\n" not in made["lines merged"]
    assert all(part in made["lines merged"] for part in TEXT.splitlines())
    assert len(made["brackets lost"]) < len(TEXT)
    assert made["brackets lost"].replace("(", "").replace(")", "") == TEXT.replace("(", "").replace(
        ")", ""
    )
    assert TEXT.startswith(made["cut in a line"])
    lines = made["line repeated"].splitlines()
    assert len(lines) == 4
    assert list(dict.fromkeys(lines)) == TEXT.splitlines()
    assert made["numbered prose"].splitlines()[1].startswith("2. ")
    assert "Cup shows" in made["numbered prose"]


def test_a_text_without_brackets_has_none_to_lose() -> None:
    names = {name for name, _ in alignment().variants(PLAIN, "s")}
    assert names == {*BREAKS} - {"brackets lost"}


def test_one_statement_has_nothing_to_merge_with() -> None:
    text = "colour: dark tones, but not black (Lamp)"
    names = {name for name, _ in alignment().variants(text, "s")}
    assert "lines merged" not in names
    assert "factor names dropped" in names


def test_a_variant_is_not_much_shorter_than_its_text() -> None:
    names = {name for name, _ in alignment().variants("Price range: low", "s")}
    assert "factor names dropped" not in names
    wide = StructureAlignment(CHECK, 6, max_length_ratio=10)
    assert "factor names dropped" in dict(wide.variants("Price range: low", "s"))


def test_the_seed_and_the_session_decide() -> None:
    first = alignment(2).variants(TEXT, "s")
    assert len(first) == 2
    assert alignment(2).variants(TEXT, "s") == first
    others = [alignment(2, seed).variants(TEXT, f"s{seed}") for seed in range(8)]
    assert any(other != first for other in others)
    drawn = {name for other in others for name, _ in other}
    assert len(drawn) > 3


def test_nothing_is_made_of_what_is_not_whole_or_not_wanted() -> None:
    assert alignment(0).variants(TEXT) == []
    assert alignment().variants("The user likes red.") == []
    assert alignment(require_evidence=True).variants(PLAIN) == []
    for count in (-1, 7):
        with pytest.raises(ValueError, match="count"):
            alignment(count)
    with pytest.raises(ValueError, match="ratio"):
        StructureAlignment(CHECK, max_length_ratio=0.5)


def test_pairs_keep_what_was_chosen_and_say_how_the_rest_was_broken() -> None:
    pair = numbered_pair(1, chosen=TEXT)
    made = alignment(4).pairs(pair)
    assert len(made) == 4
    for each in made:
        assert (each.kind, each.session_id, each.user_id) == ("structure", "s1", pair.user_id)
        assert (each.prompt, each.chosen, each.chosen_reward) == (
            pair.prompt,
            TEXT,
            pair.chosen_reward,
        )
        assert each.rejected_reward is None
        assert each.provenance.broken in BREAKS
        assert each.provenance.model == pair.provenance.model
    assert len({each.pair_id for each in (*made, pair)}) == 5


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(WORDS, st.none() | WORDS), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_no_variant_passes_the_check(
    said: list[tuple[str, str | None]], seed: int, require_evidence: bool
) -> None:
    text = "\n".join(
        f"{factor}: {preference}" + (f" ({evidence})" if evidence else "")
        for factor, (preference, evidence) in zip(FACTORS, said, strict=False)
    )
    check = StructureCheck(FACTORS, require_evidence=require_evidence)
    made = StructureAlignment(check, 6, seed).variants(text)
    assert (made == []) == (check.fault(text) is not None)
    assert all(check.fault(broken) is not None for _, broken in made)
