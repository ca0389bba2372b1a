import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agentrec.catalog import Catalog, Item
from agentrec.graphs.preferences.pairing import PairingRules, PairRejection, UserCap, pairs_of
from agentrec.preferences import (
    ChatTurn,
    PairProvenance,
    PreferencePair,
    PreferenceReward,
    PreferenceText,
)
from agentrec.sessions import Session
from agentrec.testing.preference_sink_conformance import numbered_pair

CATALOG = Catalog(
    Item(item_id=item_id, title=title)
    for item_id, title in {"toy": "Toy Story", "heat": "Heat", "fargo": "Fargo"}.items()
)
SESSION = Session(
    session_id="s", items=("heat",), target="toy", candidates=("toy", "fargo"), user_id="u"
)
PROMPT = (ChatTurn(role="system", content="Describe."), ChatTurn(role="user", content="Task"))
FACTORS = ("genre", "period")
WHOLE = ("genre: drama", "genre: comedy", "genre: war films", "period: old ones", "period: 1990s")


def text(
    said: str, value: float | None = None, margin: float = 0.0, sample: int = 0
) -> PreferenceText:
    reward = None if value is None else PreferenceReward(value=value, margin=margin)
    return PreferenceText(session_id="s", sample=sample, text=said, reward=reward)


def all_paired(
    *texts: PreferenceText, **rules: object
) -> tuple[PreferencePair, ...] | PairRejection:
    return pairs_of(
        SESSION,
        PROMPT,
        texts,
        PairingRules.model_validate(rules),
        factors=FACTORS,
        catalog=CATALOG,
        provenance=PairProvenance(model="m", temperature=0.7, samples=4),
    )


def paired(*texts: PreferenceText, **rules: object) -> PreferencePair | PairRejection:
    """The one pair that there is where nothing else is asked for."""
    found = all_paired(*texts, **rules)
    if isinstance(found, PairRejection):
        return found
    [pair] = found
    return pair


def reason(*texts: PreferenceText, **rules: object) -> str:
    refused = paired(*texts, **rules)
    assert isinstance(refused, PairRejection)
    assert refused.session_id == "s"
    return refused.reason


def test_the_best_and_the_worst_become_a_pair() -> None:
    texts = [text(WHOLE[n], value, 0.1 * n, n) for n, value in enumerate([0.5, 0.2, 1.0, 0.9])]
    pair = paired(*texts)
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen, pair.rejected) == (WHOLE[2], WHOLE[1])
    assert pair.chosen_reward.value == 1.0
    assert (pair.session_id, pair.user_id, pair.kind) == ("s", "u", "reward")
    assert pair.prompt == PROMPT
    assert pair.provenance.samples == 4
    for seed in range(5):
        random.Random(seed).shuffle(texts)
        assert paired(*texts) == pair


def test_margins_break_ties() -> None:
    texts = [text(WHOLE[n], 0.5, margin, n) for n, margin in enumerate([0.1, -0.3, 0.4])]
    pair = paired(*texts)
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen, pair.rejected) == (WHOLE[2], WHOLE[1])


def test_of_equals_the_numbers_decide() -> None:
    pair = paired(
        text(WHOLE[1], 1, 0, 3), text(WHOLE[2], 0, 0, 2), text(WHOLE[0], 1, 0, 1), text(WHOLE[4], 0)
    )
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen, pair.rejected) == (WHOLE[0], WHOLE[2])


def test_broken_texts_are_neither_chosen_nor_rejected() -> None:
    pair = paired(
        text("The user likes drama.", 1.0),
        text(WHOLE[0], 0.6, sample=1),
        text(WHOLE[1], 0.3, sample=2),
        text("drama", 0.0, sample=3),
    )
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen, pair.rejected) == (WHOLE[0], WHOLE[1])


@pytest.mark.parametrize(
    ("texts", "rules", "expected"),
    [
        ([], {}, "too few whole texts"),
        ([text(WHOLE[0], 1)], {}, "too few whole texts"),
        ([text(WHOLE[0], 1), text("I like drama.", 0)], {}, "too few whole texts"),
        ([text("He likes war.", 1), text("I like drama.", 0)], {}, "structure broken"),
        ([text(WHOLE[0], 1), text(WHOLE[1], 0)], {"min_statements": 2}, "structure broken"),
        ([text(WHOLE[0], 1), text(WHOLE[1], 0)], {"require_evidence": True}, "structure broken"),
        ([text(WHOLE[0]), text(WHOLE[1])], {}, "nothing rewarded"),
        ([text(WHOLE[0], 1), text(WHOLE[1])], {}, "nothing rewarded"),
        ([text("genre: War", 1), text("Genre:  WAR", 0)], {}, "equal texts"),
        ([text("genre: ｗａｒ", 1), text("genre: war", 0)], {}, "equal texts"),
        ([text(WHOLE[0], 0.5), text(WHOLE[0], 0.5)], {}, "equal texts"),
        ([text(WHOLE[0], 0.6), text(WHOLE[1], 0.5)], {"min_gap": 0.2}, "gap too small"),
        ([text(WHOLE[0], 0.6, 9), text(WHOLE[1], 0.5)], {"min_gap": 0.2}, "gap too small"),
        ([text(WHOLE[0], 0.5, 0.04), text(WHOLE[1], 0.5)], {}, "margin too small"),
        ([text(WHOLE[0], 0.5), text(WHOLE[1], 0.5)], {"min_margin": 0}, "margin too small"),
        ([text(WHOLE[0], 0.5, 9), text(WHOLE[1], 0.5)], {"min_margin": None}, "margin too small"),
        # Values that differ by rounding tie, and then the margins must not contradict them.
        ([text(WHOLE[0], 0.1 + 0.2, -3), text(WHOLE[1], 0.3)], {}, "margin too small"),
        ([text("genre: " + "a" * 60, 1), text("genre: war", 0)], {}, "length ratio too large"),
        ([text("genre: war", 1), text("genre: " + "a" * 60, 0)], {}, "length ratio too large"),
        ([text("genre: as in Toy Story", 1), text(WHOLE[2], 0)], {}, "target title leaked"),
        ([text(WHOLE[2], 1), text("genre: as in Toy Story", 0)], {}, "target title leaked"),
    ],
)
def test_every_refusal_has_its_reason(
    texts: list[PreferenceText], rules: dict[str, object], expected: str
) -> None:
    assert reason(*texts, **rules) == expected


@pytest.mark.parametrize(
    ("texts", "rules"),
    [
        ([text(WHOLE[0], 0.6), text(WHOLE[1], 0.4)], {"min_gap": 0.19}),
        ([text(WHOLE[0], 0.5, 1e-9), text(WHOLE[1], 0.5)], {"min_margin": 0}),
        ([text(WHOLE[0], 0.0, 0.3), text(WHOLE[1], 0.0)], {}),
        ([text("genre: " + "a" * 13, 1), text("genre: war", 0)], {}),
        ([text("genre: " + "a" * 60, 1), text("genre: war", 0)], {"max_length_ratio": 7}),
        ([text("genre: crime (Heat)", 1), text("genre: drama (Heat)", 0)], {}),
        ([text("genre: crime (Heat)", 1), text("genre: drama (Heat)", 0)], {"require_evidence": 1}),
    ],
)
def test_what_is_on_the_right_side_of_a_bound_passes(
    texts: list[PreferenceText], rules: dict[str, object]
) -> None:
    assert isinstance(paired(*texts, **rules), PreferencePair)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*WHOLE, "prose", "genre: Toy Story", "genre: drama and crime films"]),
            st.none() | st.tuples(st.sampled_from([0, 0.3, 0.31, 1]), st.floats(-2, 2)),
        ),
        max_size=6,
    ),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    st.integers(1, 4),
)
def test_a_pair_keeps_every_rule(
    written: list[tuple[str, tuple[float, float] | None]],
    min_gap: float,
    min_margin: float | None,
    most_pairs: int,
) -> None:
    texts = [
        text(said, *(reward or (None,)), sample=sample)
        for sample, (said, reward) in enumerate(written)
    ]
    found = all_paired(*texts, min_gap=min_gap, min_margin=min_margin, most_pairs=most_pairs)
    if isinstance(found, PairRejection):
        return
    assert 1 <= len(found) <= min(most_pairs, len(texts) // 2)
    assert len({pair.pair_id for pair in found}) == len(found)
    for pair in found:
        assert pair.rejected_reward is not None
        gap = pair.gap
        assert gap is not None
        assert gap >= min_gap or gap == 0
        if gap == 0:
            assert min_margin is not None
            assert pair.chosen_reward.margin - pair.rejected_reward.margin >= min_margin
        assert not {"prose", "genre: Toy Story"} & {pair.chosen, pair.rejected}


def many_paired(*texts: PreferenceText, **rules: object) -> list[tuple[str, str]]:
    found = all_paired(*texts, **rules)
    assert not isinstance(found, PairRejection)
    return [(pair.chosen, pair.rejected) for pair in found]


def ladder(count: int) -> list[PreferenceText]:
    """Texts of falling worth, in another order."""
    texts = [text(f"genre: kind {n}", 1 - n / 10, sample=n) for n in range(count)]
    random.Random(count).shuffle(texts)
    return texts


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (5, 1, [(0, 4)]),
        (5, 2, [(0, 4), (1, 3)]),
        (5, 9, [(0, 4), (1, 3)]),
        (6, 2, [(0, 5), (1, 4)]),
        (6, 3, [(0, 5), (1, 4), (2, 3)]),
        (2, 3, [(0, 1)]),
    ],
)
def test_the_second_best_goes_with_the_second_worst(
    count: int, most: int, expected: list[tuple[int, int]]
) -> None:
    found = many_paired(*ladder(count), most_pairs=most)
    assert found == [(f"genre: kind {best}", f"genre: kind {worst}") for best, worst in expected]


def test_every_pair_is_of_the_session_and_has_its_own_rewards() -> None:
    found = all_paired(*ladder(6), most_pairs=3)
    assert not isinstance(found, PairRejection)
    assert len({pair.pair_id for pair in found}) == 3
    for n, pair in enumerate(found):
        assert (pair.session_id, pair.user_id, pair.kind, pair.prompt) == (
            "s",
            "u",
            "reward",
            PROMPT,
        )
        assert pair.rejected_reward is not None
        assert pair.chosen_reward.value == pytest.approx(1 - n / 10)
        assert pair.rejected_reward.value == pytest.approx(0.5 + n / 10)


def test_no_pair_comes_twice() -> None:
    best, worst = WHOLE[0], WHOLE[1]
    twice = [text(best, 1, sample=0), text(best, 1, sample=1), text(worst, 0), text(worst, 0)]
    assert many_paired(*twice, most_pairs=2) == [(best, worst)]
    # The same text may be chosen twice, each time over another one.
    other = [*twice[:3], text(WHOLE[2], 0.1, sample=3)]
    assert many_paired(*other, most_pairs=2) == [(best, worst), (best, WHOLE[2])]


@pytest.mark.parametrize(
    ("inner", "rules"),
    [
        ((text(WHOLE[2], 0.6), text(WHOLE[3], 0.5)), {"min_gap": 0.2}),
        ((text(WHOLE[2], 0.5, 0.04), text(WHOLE[3], 0.5)), {}),
        ((text(WHOLE[2], 0.7), text(WHOLE[2].upper(), 0.4)), {}),
        ((text("genre: " + "a" * 60, 0.7), text(WHOLE[3], 0.4)), {}),
        ((text("genre: as in Toy Story", 0.7), text(WHOLE[3], 0.4)), {}),
        ((text(WHOLE[2], 0.7), text("genre: as in Toy Story", 0.4)), {}),
    ],
)
def test_what_a_rule_forbids_behind_the_first_pair_is_left_out(
    inner: tuple[PreferenceText, PreferenceText], rules: dict[str, object]
) -> None:
    outer = [text(WHOLE[0], 1), text(WHOLE[1], 0)]
    assert many_paired(*outer, *inner, most_pairs=2, **rules) == [(WHOLE[0], WHOLE[1])]
    # The same where more pairs stand in front of it.
    most = [text("genre: best one", 1), text("genre: worst one", 0)]
    kept = [text(WHOLE[0], 0.9), text(WHOLE[1], 0.1), *most, *inner]
    found = many_paired(*kept, most_pairs=3, **rules)
    assert found == [("genre: best one", "genre: worst one"), (WHOLE[0], WHOLE[1])]


def test_a_forbidden_pair_costs_the_one_behind_it_nothing() -> None:
    texts = [text(f"genre: kind {n}", 1 - n / 10, sample=n) for n in range(6)]
    texts[1] = text("genre: as in Toy Story", 0.9, sample=1)
    found = many_paired(*texts, most_pairs=3)
    assert found == [("genre: kind 0", "genre: kind 5"), ("genre: kind 2", "genre: kind 3")]


def test_without_a_best_and_a_worst_there_is_no_pair_at_all() -> None:
    texts = ladder(6)
    worst = min(texts, key=lambda one: one.reward.value if one.reward else 0)
    texts[texts.index(worst)] = worst.model_copy(update={"text": "genre: as in Toy Story"})
    assert reason(*texts, most_pairs=3) == "target title leaked"


def test_what_the_prompt_showed_may_be_cited() -> None:
    texts = [text("genre: crime (Toy Story)", 1), text("genre: drama (Heat)", 0)]
    for shown, leaked in (((), True), (("heat",), True), (("toy",), False), (None, True)):
        found = pairs_of(
            SESSION,
            PROMPT,
            texts,
            PairingRules(),
            factors=FACTORS,
            catalog=CATALOG,
            provenance=PairProvenance(model="m"),
            shown=shown,
        )
        assert isinstance(found, PairRejection) == leaked


def test_texts_of_another_session_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="'t' came with 's'"):
        paired(PreferenceText(session_id="t", sample=0, text=WHOLE[0]))


@pytest.mark.parametrize(
    "rules",
    [
        {"min_gap": -0.1},
        {"min_gap": 1.1},
        {"min_gap": float("nan")},
        {"min_margin": -1},
        {"min_margin": float("inf")},
        {"max_length_ratio": 0.9},
        {"max_per_user": 0},
        {"min_statements": 0},
        {"most_pairs": 0},
        {"delta": 1},
    ],
)
def test_rules_have_bounds(rules: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PairingRules.model_validate(rules)


def test_a_user_gives_pairs_from_so_many_sessions() -> None:
    cap = UserCap(2)
    stream = [numbered_pair(number, user_id="u") for number in range(4)]
    stream.insert(1, numbered_pair(0, user_id="u", kind="structure", rejected_reward=None))
    stream += [numbered_pair(9, user_id="v"), *(numbered_pair(n, user_id="") for n in range(5, 9))]
    refused = [cap.admit(pair) for pair in stream]
    assert [each.session_id for each in refused if each is not None] == ["s2", "s3"]
    assert {each.reason for each in refused if each is not None} == {"user has enough pairs"}
    # The same stream again is cut alike, also by a cap that knows what was kept.
    assert [cap.admit(pair) for pair in stream] == refused
    kept = [pair for pair, no in zip(stream, refused, strict=True) if no is None]
    again = UserCap(2, kept)
    assert [again.admit(pair) for pair in stream] == refused


def test_without_a_limit_all_pass() -> None:
    cap = UserCap(None)
    assert [cap.admit(numbered_pair(n, user_id="u")) for n in range(5)] == [None] * 5
    with pytest.raises(ValueError, match="limit"):
        UserCap(0)
