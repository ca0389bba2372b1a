"""Many sessions at once, and what is kept of them."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from embedded_model import planted

from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.session_encoding import encoder as session_encoder
from agentrec.session_encoding.blocks import BLOCK_NAMES, DEFAULT_BLOCKS, BlockName
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session

MADE = planted.films()
IDS = MADE.catalog.item_ids


def encoder(blocks: Sequence[BlockName] = BLOCK_NAMES) -> RecencySessionEncoder:
    return RecencySessionEncoder(
        MADE.catalog, MADE.features, planted.vectors(MADE.catalog), blocks=blocks
    )


def sessions(count: int, seed: int = 0) -> list[Session]:
    draw = random.Random(seed)
    return [
        Session(
            session_id=f"s{n}",
            items=tuple(draw.choices(IDS, k=draw.randint(1, 14))),
            candidates=tuple(draw.sample(IDS, draw.choice([0, 1, 7, 30]))),
        )
        for n in range(count)
    ]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sessions were encoded each time any were."""
    counts: list[int] = []
    encode = RecencySessionEncoder._encode

    def counting(self: RecencySessionEncoder, contents: Sequence[object]) -> object:
        counts.append(len(contents))
        return encode(self, contents)  # type: ignore[arg-type]

    monkeypatch.setattr(RecencySessionEncoder, "_encode", counting)
    return counts


def as_before(session: Session) -> np.ndarray:
    """The state as it was before there were blocks, computed as it was."""
    features = MADE.features
    centred = features.text - features.text.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    described = np.concatenate(
        [
            centred @ directions[:8].T,
            *(category.member[:, :20] for category in features.categories),
            *(number.vectors for number in features.numbers),
        ],
        axis=1,
    )
    numbers = np.stack([number.percentile for number in features.numbers], axis=1)
    places = [MADE.catalog.index[item_id] for item_id in session.items[-HISTORY_LENGTH:]]
    weights = 0.8 ** np.arange(len(places))[::-1]
    weights /= weights.sum()
    parts = [weights @ described[places], weights @ numbers[places], numbers[places].std(axis=0)]
    return np.concatenate([*parts, [len(places) / 10]])


def test_the_default_state_is_what_it_was_before_there_were_blocks() -> None:
    for session in sessions(40):
        assert encoder(DEFAULT_BLOCKS).state(session) == pytest.approx(as_before(session), abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_a_session_has_the_same_vectors_alone_and_in_any_batch(
    monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(session_encoder, "_BATCH_SIZE", batch_size)
    many = sessions(60)
    states, queries = encoder().states(many), encoder().queries(many)
    backward = encoder().states(many[::-1])[::-1]
    assert np.array_equal(states, backward)
    alone = encoder()
    for row, session in enumerate(many):
        assert np.array_equal(alone.state(session), states[row])
        assert np.array_equal(alone.query(session), queries[row])
    assert states.dtype == queries.dtype == np.float32


def test_no_session_has_the_shapes_of_many() -> None:
    encode = encoder()
    state, query = encode.state(sessions(1)[0]), encode.query(sessions(1)[0])
    assert encode.states([]).shape == (0, len(state))
    assert encode.queries([]).shape == (0, len(query))


def test_equal_content_under_another_id_is_encoded_once(encoded: list[int]) -> None:
    encode = encoder()
    session = Session(session_id="a", items=(IDS[1], IDS[2]), candidates=(IDS[3], IDS[4]))
    first = encode.state(session)
    others = [
        session.model_copy(update={"session_id": "b"}),
        session.model_copy(update={"candidates": (IDS[4], IDS[3]), "target": IDS[3]}),
    ]
    for other in others:
        assert np.array_equal(encode.state(other), first)
        encode.query(other)
    assert np.array_equal(encode.states([session, *others]), np.stack([first] * 3))
    assert encoded == [1]
    for changed in ({"items": (IDS[2], IDS[1])}, {"candidates": (IDS[3], IDS[5])}):
        assert not np.array_equal(encode.state(session.model_copy(update=changed)), first)
    assert encoded == [1, 1, 1]


def test_candidates_that_no_block_looks_at_are_not_content(encoded: list[int]) -> None:
    encode = encoder(DEFAULT_BLOCKS)
    session = Session(session_id="a", items=(IDS[1],), candidates=(IDS[3],))
    encode.state(session)
    encode.state(session.model_copy(update={"candidates": ("no item of the catalogue",)}))
    assert encoded == [1]


def test_a_batch_encodes_what_is_new_to_it_once(encoded: list[int]) -> None:
    encode, many = encoder(), sessions(20)
    encode.states(many[:5])
    encode.queries([*many, *many])
    assert encoded == [5, 15]


def test_the_sessions_used_last_are_kept(
    monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    monkeypatch.setattr(session_encoder, "CACHED_SESSIONS", 3)
    encode = encoder()
    a, b, c, d = sessions(4)
    encode.states([a, b, c])
    encode.state(a)
    encode.state(d)
    assert encoded == [3, 1]
    encode.states([a, c, d])
    assert encoded == [3, 1]
    encode.state(b)
    assert encoded == [3, 1, 1]
    # More at once than are kept.
    many = sessions(30)
    assert np.array_equal(encode.states(many), encoder().states(many))
    assert len(encode._cached) == 3


def test_what_is_returned_can_be_changed() -> None:
    encode, (session,) = encoder(), sessions(1)
    expected = encode.state(session), encode.query(session)
    for made in (encode.state(session), encode.query(session)):
        made[:] = 7
    for rows in (encode.states([session]), encode.queries([session])):
        rows[:] = 7
    assert np.array_equal(encode.state(session), expected[0])
    assert np.array_equal(encode.query(session), expected[1])


def test_many_threads_share_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_encoder, "CACHED_SESSIONS", 5)
    encode, many = encoder(), sessions(25)
    expected = encoder().states(many)

    def work(seed: int) -> bool:
        order = random.Random(seed).sample(range(25), 25)
        right = [np.array_equal(encode.state(many[n]), expected[n]) for n in order]
        return all(right) and np.array_equal(
            encode.states([many[n] for n in order]), expected[order]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
