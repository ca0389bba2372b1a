from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.data import (
    Dataset,
    Interaction,
    TimedSession,
    build_sessions,
    split_by_time,
    with_candidates,
)
from agentrec.sessions import Session

DAY = 86_400
# 1997-12-04 00:00 UTC
MORNING = 881_193_600


def did(user_id: str, *steps: tuple[str, int]) -> list[Interaction]:
    return [Interaction(user_id, item_id, MORNING + second) for item_id, second in steps]


interactions = st.lists(
    st.builds(
        Interaction,
        user_id=st.sampled_from(["1", "2", "3"]),
        item_id=st.integers(0, 30).map(str),
        timestamp=st.integers(0, 8 * DAY),
    ),
    max_size=200,
)


def test_a_session_is_a_users_day_in_time_order_with_the_last_item_as_target() -> None:
    log = did("196", ("c", 30), ("a", 10), ("d", 40), ("b", 20))
    (timed,) = build_sessions(log)
    assert timed.session.session_id == "u196-1997-12-04"
    assert timed.session.items == ("a", "b", "c")
    assert timed.session.target == "d"
    assert timed.session.candidates == ()
    assert timed.session.user_id == "196"
    assert (timed.start, timed.end) == (MORNING + 10, MORNING + 40)


def test_an_empty_user_id_is_unknown() -> None:
    (timed,) = build_sessions(did("", ("a", 1), ("b", 2), ("c", 3), ("d", 4)))
    assert timed.session.user_id is None


def test_the_day_ends_at_midnight_utc() -> None:
    steps = [("a", DAY - 4), ("b", DAY - 3), ("c", DAY - 2), ("d", DAY - 1), ("e", DAY)]
    (timed,) = build_sessions(did("1", *steps))
    assert (timed.session.items, timed.session.target) == (("a", "b", "c"), "d")


def test_a_day_of_three_items_is_dropped() -> None:
    assert build_sessions(did("1", ("a", 1), ("b", 2), ("c", 3))) == []


def test_a_repeated_item_counts_once_and_is_never_both_item_and_target() -> None:
    steps = [("a", 1), ("b", 2), ("c", 3), ("a", 4)]
    assert build_sessions(did("1", *steps)) == []
    (timed,) = build_sessions(did("1", *steps, ("d", 5), ("b", 6)))
    assert (timed.session.items, timed.session.target) == (("a", "b", "c"), "d")
    assert timed.end == MORNING + 5


def test_items_of_the_same_second_keep_the_order_of_the_log() -> None:
    (timed,) = build_sessions(did("1", ("z", 1), ("y", 1), ("b", 1), ("a", 1)))
    assert (timed.session.items, timed.session.target) == (("z", "y", "b"), "a")


def test_only_the_last_ten_items_are_kept() -> None:
    (timed,) = build_sessions(did("1", *((str(n), n) for n in range(15))))
    assert timed.session.items == tuple(str(n) for n in range(4, 14))
    assert timed.session.target == "14"
    assert timed.start == MORNING


@pytest.mark.parametrize("limits", [{"longer_than": 0}, {"history_length": 0}])
def test_impossible_limits_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        build_sessions([], **limits)


@given(interactions)
def test_sessions_are_made_of_what_the_user_did_that_day(log: list[Interaction]) -> None:
    for timed in build_sessions(log):
        session = timed.session
        whole = (*session.items, session.target)
        assert len(set(whole)) == len(whole) >= 4
        user_id = session.session_id[1]
        assert session.user_id == user_id
        done = {i.item_id for i in log if i.user_id == user_id}
        assert done.issuperset(whole)
        assert timed.start <= timed.end < timed.start + DAY


@given(interactions.map(lambda log: build_sessions(log, longer_than=1)))
def test_no_session_ends_after_one_of_a_later_split(sessions: list[TimedSession]) -> None:
    if len(sessions) < 3:
        with pytest.raises(ValueError, match="cannot be split"):
            split_by_time(sessions)
        return
    split = split_by_time(sessions[::-1])
    assert sorted([*split.train, *split.valid, *split.test], key=id) == sorted(sessions, key=id)
    held_out = max(1, len(sessions) // 10)
    assert len(split.valid) == len(split.test) == held_out
    assert max(t.end for t in split.train) <= min(t.end for t in split.valid)
    assert max(t.end for t in split.valid) <= min(t.end for t in split.test)


@given(interactions, st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_sessions(
    log: list[Interaction], chance: Random
) -> None:
    sessions = build_sessions(log, longer_than=1)
    if len(sessions) < 3:
        return
    shuffled = list(sessions)
    chance.shuffle(shuffled)
    assert split_by_time(shuffled) == split_by_time(sessions)


MakeDataset = Callable[..., Dataset]


def test_no_split_is_empty(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    with pytest.raises(ValueError, match="the train split has no session"):
        replace(dataset, train=())
    with pytest.raises(ValueError, match="the valid split has no session"):
        replace(dataset, valid=())
    with pytest.raises(ValueError, match="the test split has no session"):
        replace(dataset, test=())


@pytest.mark.parametrize(
    ("session", "problem"),
    [
        (Session(session_id="s0", items=("1",), target="2"), "session id 's0' occurs twice"),
        (Session(session_id="x", items=("1",)), "'x' has no target"),
        (Session(session_id="x", items=("?",), target="2"), "names item '?'"),
        (Session(session_id="x", items=("1",), target="?"), "names item '?'"),
        (Session(session_id="x", items=("1",), target="2", candidates=("2", "?")), "names item"),
    ],
)
def test_sessions_are_consistent(make_dataset: MakeDataset, session: Session, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        replace(make_dataset(), test=(session,))


def test_the_hash_follows_the_content_and_not_the_name(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    assert replace(dataset, name="other", notes=("read",)).content_hash == dataset.content_hash
    others = [
        with_candidates(dataset, seed=0),
        with_candidates(dataset, seed=1),
        replace(dataset, valid=dataset.test, test=dataset.valid),
        replace(dataset, train=dataset.train[::-1]),
        make_dataset(num_items=201),
        *(
            replace(dataset, test=tuple(one.model_copy(update=owned) for one in dataset.test))
            for owned in ({"user_id": "ann"}, {"user_id": "bob"})
        ),
    ]
    hashes = {d.content_hash for d in (dataset, *others)}
    assert len(hashes) == 1 + len(others)
