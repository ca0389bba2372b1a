import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage
from testing.answering import (
    candidates_of,
    make_catalog,
    make_components,
    make_session,
    ranking_with,
    targets_of,
    task_of,
)

from agentrec.errors import ModelCallError
from agentrec.evaluation.answer_quality import position_bias_of, shown_order
from agentrec.graphs.recommendation.graph import build_recommendation_graph
from agentrec.graphs.recommendation.rank_fusion import (
    fuse_rankings,
    gather_successes,
    reciprocal_rank_fusion,
)
from agentrec.graphs.recommendation.ranking import rank, recommend
from agentrec.llm.prompts.session_view import SessionView
from agentrec.rankings import Ranking
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SESSION = make_session(0)
TARGET = targets_of([SESSION], make_catalog())["Toy Story"]


def ranking(*item_ids: str, backfilled: int = 0, notes: tuple[str, ...] = ()) -> Ranking:
    return Ranking(session_id="s", item_ids=item_ids, backfilled=backfilled, notes=notes)


def test_fusion_computed_by_hand() -> None:
    # a: 1/61 + 1/62, b: 1/62 + 1/61 + 1/61, c: 1/63, d: 1/62
    assert reciprocal_rank_fusion(["abc", "ba", "bd"]) == list("badc")
    # Often in the middle beats once at the top with this constant, not with a small one.
    lists = ["axb", "cxd", "exf"]
    assert reciprocal_rank_fusion(lists)[0] == "x"
    assert reciprocal_rank_fusion([*lists[:1], "c", "d"], constant=0)[0] == "a"
    assert reciprocal_rank_fusion([]) == []


def test_ties_are_broken_by_best_place_then_by_the_earlier_list() -> None:
    assert reciprocal_rank_fusion(["ab", "ba"]) == ["a", "b"]
    assert reciprocal_rank_fusion(["ba", "ab"]) == ["b", "a"]
    # 1/3 + 1/6 = 1/2: named twice further down, or once at the second rank.
    fused = reciprocal_rank_fusion(["aby", "cdefgy", "hx"], constant=0)
    assert fused.index("x") < fused.index("y")


def test_equal_scores_are_equal_in_whatever_order_they_are_added_up() -> None:
    # Both have ranks 1, 2 and 7; a plain sum of x's, in its order, is the smaller one.
    lists = ["x", "yabcdex", "fx", "gy", "hijklmy"]
    fused = reciprocal_rank_fusion(lists)
    assert fused[:2] == ["x", "y"]


@given(st.lists(st.permutations("abcdefgh").map(lambda p: p[:5]), min_size=1, max_size=5))
def test_fusion_keeps_every_item_once_and_agreement(lists: list[list[str]]) -> None:
    fused = reciprocal_rank_fusion(lists)
    assert sorted(fused) == sorted(set().union(*lists))
    for better, worse in itertools.permutations(fused, 2):
        if all(
            better in ranked and (worse not in ranked or ranked.index(better) < ranked.index(worse))
            for ranked in lists
        ):
            assert fused.index(better) < fused.index(worse)


def test_what_was_filled_up_has_no_say() -> None:
    fused = fuse_rankings([ranking(*"axyz", backfilled=3), ranking(*"bxyz", backfilled=3)])
    assert (fused.item_ids, fused.backfilled) == (("a", "b", "x", "y"), 2)
    assert fuse_rankings(
        [ranking(*"abcd", backfilled=4), ranking(*"dcba", backfilled=4)]
    ).item_ids == (*"abcd",)


def test_one_ranking_stays_as_it_is() -> None:
    one = ranking("a", "b", backfilled=1, notes=("x",))
    assert fuse_rankings([one]) == one
    assert fuse_rankings([one], ["y", "x"]).notes == ("x", "y")


def test_counts_are_added_up_and_notes_come_once() -> None:
    one = ranking("a", "b", notes=("cut",)).model_copy(update={"illegal": 2, "structured": True})
    two = ranking("b", "a", notes=("cut",)).model_copy(update={"illegal": 1, "repaired": True})
    fused = fuse_rankings([one, two], ["failed"])
    assert (fused.illegal, fused.repaired, fused.structured) == (3, True, False)
    assert fused.notes == ("cut", "failed")
    assert fuse_rankings([one, one]).structured


async def test_one_that_fails_costs_the_others_nothing() -> None:
    async def call(outcome: str | Exception) -> str:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def calls(*outcomes: str | Exception) -> list:
        return [call(outcome) for outcome in outcomes]

    slow, lost = ModelCallError("slow", kind="timed_out"), ModelCallError("lost")
    assert await gather_successes(calls("a", slow, "b", lost, slow)) == (
        ["a", "b"],
        ("3 of 5 requests failed: 1 failed, 2 timed_out",),
    )
    assert await gather_successes(calls("a")) == (["a"], ())
    with pytest.raises(ModelCallError) as caught:
        await gather_successes(calls(slow, lost))
    assert caught.value is slow
    spent = ModelCallError("no money left", kind="budget_spent")
    with pytest.raises(ModelCallError, match="no money"):
        await gather_successes(calls("a", slow, spent))
    with pytest.raises(KeyError):
        await gather_successes(calls("a", KeyError("a bug"), slow))


def at_rank(rank: int) -> ScriptedChatModel:
    return ScriptedChatModel([lambda messages: ranking_with(messages, TARGET, rank)] * 50)


async def test_one_shuffle_asks_exactly_what_was_asked_before() -> None:
    model = at_rank(4)
    components = make_components(model)
    assert components.shuffles == 1
    found = await rank(SESSION, None, components)
    view = SessionView.of(SESSION, components.catalog, components.seed)
    shown = [label for _, label in candidates_of(model.calls[0])]
    assert (len(model.calls), tuple(shown)) == (1, view.candidate_labels)
    many = at_rank(4)
    await rank(SESSION, None, make_components(many, shuffles=3))
    assert many.calls[0] == model.calls[0]
    assert found.rank_of(SESSION.target) == 4


async def test_every_shuffle_has_another_order_and_all_run_at_once() -> None:
    model = ScriptedChatModel(
        [lambda messages: ranking_with(messages, TARGET, 2)] * 5, latency=0.05
    )
    components = make_components(model, shuffles=5)
    state = await build_recommendation_graph().ainvoke({"session": SESSION}, context=components)
    assert model.most_at_once == 5
    assert len({tuple(candidates_of(messages)) for messages in model.calls}) == 5
    assert len({frozenset(label for _, label in candidates_of(m)) for m in model.calls}) == 1
    assert len(state["answers"]) == 5
    # The others differ from order to order; only the target is where it is for a reason.
    assert state["ranking"].item_ids[0] == SESSION.target
    assert state["ranking"].notes == ()


async def test_fusing_takes_away_what_comes_of_the_place() -> None:
    def lazy(messages: Sequence[BaseMessage]) -> str:
        """Half its list from the top of the page, the target in the middle."""
        return ranking_with(messages, TARGET, 5)

    ranks = []
    for shuffles in (1, 9):
        components = make_components(ScriptedChatModel([lazy] * 9), shuffles=shuffles)
        ranks.append((await rank(SESSION, None, components)).rank_of(SESSION.target))
    assert ranks == [5, 1]


async def test_shuffles_take_away_position_bias() -> None:
    def copying(messages: Sequence[BaseMessage]) -> str:
        """The top of the page, whatever stands there."""
        rows = [f"{handle} | {label}" for handle, label in candidates_of(messages)[:10]]
        return "\n".join(f"{n}. {row}" for n, row in enumerate(rows, start=1))

    sessions = [make_session(n % 26, f"run-{n}") for n in range(150)]
    found = {}
    for shuffles in (1, 8):
        components = make_components(ScriptedChatModel([copying] * 1_200), shuffles=shuffles)
        rankings = await asyncio.gather(*(rank(s, None, components) for s in sessions))
        bias = position_bias_of(sessions, rankings, shown_order(components.catalog))
        assert bias.z is not None
        found[shuffles] = bias.z
    # What is left is the share of the one order in eight by which it is measured.
    assert found[1] > 8
    assert abs(found[8]) < found[1] / 3


async def test_a_failed_shuffle_is_noted_and_all_failed_is_the_error() -> None:
    def good(messages: Sequence[BaseMessage]) -> str:
        return ranking_with(messages, TARGET, 1)

    down = ModelCallError("down", kind="refused")
    components = make_components(ScriptedChatModel([good, down, good]), shuffles=3)
    found = await rank(SESSION, None, components)
    assert found.rank_of(SESSION.target) == 1
    assert found.notes == ("1 of 3 requests failed: 1 refused",)
    components = make_components(ScriptedChatModel([down] * 3), shuffles=3)
    with pytest.raises(ModelCallError) as caught:
        await rank(SESSION, None, components)
    assert caught.value.kind == "refused"


async def test_a_failed_repair_is_a_failed_shuffle() -> None:
    def answer(messages: Sequence[BaseMessage]) -> str:
        if task_of(messages) == "repair":
            raise ModelCallError("down", kind="refused")
        broken = len([call for call in model.calls if task_of(call) == "rank"]) == 2
        return "no idea" if broken else ranking_with(messages, TARGET, 1)

    model = ScriptedChatModel([answer] * 4)
    found = await rank(SESSION, None, make_components(model, shuffles=3))
    assert found.rank_of(SESSION.target) == 1
    assert (found.notes, found.backfilled) == (
        ("1 of 3 answers were lost in repair: 1 refused",),
        0,
    )


async def test_a_repair_goes_on_about_the_list_it_refers_to() -> None:
    model = ScriptedChatModel(["no idea", "no idea", "1. C01", "1. C01"])
    components = make_components(model, shuffles=2)
    await rank(SESSION, None, components)
    firsts, repairs = model.calls[:2], model.calls[2:]
    assert [call[:2] for call in repairs] == firsts
    assert firsts[0] != firsts[1]


async def test_a_cut_set_is_ranked_to_its_full_length() -> None:
    session = Session(session_id="s", items=("i0",), candidates=tuple(f"i{n}" for n in range(24)))
    model = ScriptedChatModel(["1. C03\n2. C01\n3. C02\n4. C04"])
    components = make_components(model, max_candidates=4, candidates_ordered=True)
    found = await rank(session, None, components)
    assert "exactly 4 numbered lines" in model.calls[0][-1].text
    assert set(found.item_ids[:4]) == {"i0", "i1", "i2", "i3"}
    # What was not shown stays a candidate, in the order of whoever gave it.
    assert found.item_ids[4:] == ("i4", "i5", "i6", "i7", "i8", "i9")
    assert (found.backfilled, found.repaired) == (6, False)
    assert found.notes == ("the model was shown 4 of 24 candidates, the first",)


async def test_a_second_request_of_ones_own_has_another_order() -> None:
    components = make_components(ScriptedChatModel(["x"] * 2))
    one, other = await asyncio.gather(
        *(recommend(SESSION, None, components, attempt) for attempt in range(2))
    )
    assert one.view.candidate_ids != other.view.candidate_ids


@pytest.mark.parametrize("name", ["shuffles", "max_candidates", "list_length", "label_length"])
def test_impossible_numbers_are_refused_where_they_are_given(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make_components(ScriptedChatModel(), **{name: 0})
