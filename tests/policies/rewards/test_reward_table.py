import numpy as np
import numpy.typing as npt
import pytest

from agentrec.hint_offers import NO_CANDIDATE, HintOffer
from agentrec.hints import Hint
from agentrec.policies.rewards.reward_table import RewardTable

NAN = float("nan")
NDCG = np.array([[0.5, 1.0, 0.0], [0.0, 0.25, 0.0], [1.0, 1.0, 0.5]], dtype=np.float32)


@pytest.fixture
def table() -> RewardTable:
    return RewardTable(("s0", "s1", "s2"), ("a", "b"), NDCG)


def test_a_gain_is_with_the_hint_minus_without(table: RewardTable) -> None:
    assert table.gains.tolist() == [[0, 0.5, -0.5], [0, 0.25, 0], [0, 0, -0.5]]


def test_what_was_not_measured_is_told_from_what_gained_nothing() -> None:
    ndcg = np.array([[0.5, NAN, 0.5], [0.25, 0.75, NAN]], dtype=np.float32)
    table = RewardTable(("s0", "s1"), ("a", "b"), ndcg)
    np.testing.assert_array_equal(table.gains, [[0, NAN, 0], [0, 0.5, NAN]])
    assert table.measured.tolist() == [[True, False, True], [True, True, False]]
    assert table.share_measured == pytest.approx(4 / 6)
    assert RewardTable((), (), np.zeros((0, 1), np.float32)).share_measured == 1


def test_a_session_may_come_once_for_each_draw_of_negatives() -> None:
    table = RewardTable(("s", "t", "s"), ("a", "b"), NDCG, (0, 0, 1))
    assert RewardTable(("s", "t", "u"), ("a", "b"), NDCG).draws == (0, 0, 0)
    taken = table.with_sessions(("s",))
    assert (taken.session_ids, taken.draws) == (("s", "s"), (0, 1))
    assert np.array_equal(taken.ndcg, NDCG[[0, 2]])
    assert table.with_hints(("b",)).draws == table.shuffled_across_sessions(0).draws == (0, 0, 1)
    for draws, says in (((0, 0, 0), "twice"), ((0, 1), "2 draws for 3"), ((0, 0, -1), "whole")):
        with pytest.raises(ValueError, match=says):
            RewardTable(("s", "t", "s"), ("a", "b"), NDCG, draws)


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
        (("s",), ("a",), np.array([[0, np.inf]]), "0 to 1"),
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


def test_the_noise_control_moves_what_was_not_measured_like_a_reward() -> None:
    generator = np.random.default_rng(1)
    ndcg = generator.random((2000, 6)).astype(np.float32)
    # Somebody measured the first hint everywhere and the others hardly ever.
    ndcg[:, 2:][generator.random((2000, 4)) < 0.8] = NAN
    table = RewardTable(tuple(map(str, range(2000))), tuple("abcde"), ndcg)
    shuffled = table.shuffled_across_sessions(3)
    assert shuffled.share_measured == table.share_measured
    kept = {(row[0], *np.sort(row[1:]).tolist()[:1]) for row in ndcg}
    assert {(row[0], *np.sort(row[1:]).tolist()[:1]) for row in shuffled.ndcg} == kept
    shares = shuffled.measured[:, 1:].mean(axis=0)
    assert shares.max() - shares.min() < 0.05
    assert table.measured[:, 1].mean() - table.measured[:, 2:].mean() > 0.7
    # A row's measurements stay together: none has more or fewer than it had.
    counts = np.sort(table.measured.sum(axis=1))
    assert np.array_equal(np.sort(shuffled.measured.sum(axis=1)), counts)


def offer_of(texts: list[str], candidates: list[list[int]]) -> HintOffer:
    places = np.array(candidates, dtype=np.int64)
    return HintOffer(
        np.zeros((len(places), 2), np.float32),
        tuple(Hint(text=text) for text in texts),
        np.zeros((len(texts), 1), np.float32),
        places,
        np.zeros(places.shape, np.float32),
    )


def test_an_offer_gets_the_rewards_that_are_known_and_no_others() -> None:
    known = [Hint(text=text).hint_id for text in ("Prefer old films.", "Prefer short films.")]
    ndcg = np.array([[0.5, 1, 0], [0.5, NAN, 1], [1, 0.5, 0.5]], dtype=np.float32)
    table = RewardTable(("s0", "s1", "s2"), tuple(known), ndcg)
    offer = offer_of(
        ["Prefer short films.", "Prefer new films.", "Prefer old films."],
        [[2, 0, 1], [1, 2, 0], [0, NO_CANDIDATE, NO_CANDIDATE]],
    )
    rewarded = table.rewarded(offer)
    assert rewarded.offer is offer
    np.testing.assert_array_equal(
        rewarded.rewards, [[0, 0.5, -0.5, NAN], [0, NAN, NAN, 0.5], [0, -0.5, NAN, NAN]]
    )
    signs = table.rewarded(offer, "sign").rewards
    np.testing.assert_array_equal(signs, np.sign(rewarded.rewards))
    with pytest.raises(ValueError, match="offer is to 2 sessions; the table has 3"):
        table.rewarded(offer.rows([0, 1]))
    # Nothing on offer, nothing in the table.
    assert table.rewarded(offer_of([], [[], [], []])).rewards.tolist() == [[0.0]] * 3
    assert np.isnan(table.with_hints(()).rewarded(offer).rewards[:, 1:]).all()
