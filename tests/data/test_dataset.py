from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agentrec.data import Dataset, with_candidates
from agentrec.sessions import Session

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
