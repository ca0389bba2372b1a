"""States and queries of sessions, alone and in batches, and what is cached of them."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from embedded_model import planted
from embedded_model.planted import Planted

from agentrec.llm.prompts.session_view import HISTORY_LENGTH
from agentrec.session_encoding import encoder as encoder_module
from agentrec.session_encoding.blocks import BLOCK_NAMES, DEFAULT_BLOCKS, BlockName
from agentrec.session_encoding.encoder import RecencySessionEncoder
from agentrec.sessions import Session

MAKERS = {"films": planted.films, "titles": planted.titles_only}


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest) -> Planted:
    return MAKERS[request.param]()


def encoder(made: Planted, recency: float = 0.8) -> RecencySessionEncoder:
    return RecencySessionEncoder(
        made.catalog, made.features, planted.vectors(made.catalog), recency
    )


def session(made: Planted, *indices: int) -> Session:
    return Session(session_id="s", items=tuple(made.catalog.item_ids[p] for p in indices))


def test_every_state_has_the_same_length_and_type(made: Planted) -> None:
    encode = encoder(made)
    sessions = [session(made, *range(n)) for n in (1, 2, 9, 10, 11, 80)]
    states = [encode.state(s) for s in sessions]
    assert {state.shape for state in states} == {states[0].shape}
    assert len(states[0].shape) == 1
    for vector in (*states, *(encode.query(s) for s in sessions)):
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all()
    assert encode.query(sessions[0]).shape == (48,)


def test_each_of_the_last_ten_items_counts_and_none_before(made: Planted) -> None:
    encode = encoder(made)
    indices = list(range(20, 33))
    plain = session(made, *indices)
    for changed in range(13):
        other = session(made, *[67 if n == changed else p for n, p in enumerate(indices)])
        counts = changed >= 13 - HISTORY_LENGTH
        for vector in (encode.state, encode.query):
            difference = np.abs(vector(plain) - vector(other)).max()
            assert (difference > 1e-4) == counts, changed


def test_the_query_is_the_recency_weighted_mean_by_hand(made: Planted) -> None:
    text = planted.vectors(made.catalog)
    query = encoder(made, recency=0.5).query(session(made, 4, 9, 2))
    assert np.allclose(query, (text[4] + 2 * text[9] + 4 * text[2]) / 7, atol=1e-6)
    level = encoder(made, recency=1.0).query(session(made, 4, 9, 2))
    assert np.allclose(level, (text[4] + text[9] + text[2]) / 3, atol=1e-6)
    alone = encoder(made).query(session(made, 4))
    assert np.allclose(alone, text[4], atol=1e-6)


def test_a_later_item_counts_more(made: Planted) -> None:
    encode = encoder(made)
    late, early = session(made, 1, 1, 1, 40), session(made, 40, 1, 1, 1)
    base, other = session(made, 1, 1, 1, 1), session(made, 40, 40, 40, 40)
    for vector in (encode.state, encode.query):
        toward = vector(other) - vector(base)
        assert (vector(late) - vector(base)) @ toward > (vector(early) - vector(base)) @ toward > 0


def test_candidates_target_and_id_are_not_seen(made: Planted) -> None:
    encode = encoder(made)
    plain = session(made, 1, 2, 3)
    ids = made.catalog.item_ids
    other = Session(session_id="x", items=plain.items, target=ids[9], candidates=(ids[9], ids[5]))
    assert np.array_equal(encode.state(plain), encode.state(other))
    assert np.array_equal(encode.query(plain), encode.query(other))


def test_states_differ_by_kinds_and_numbers() -> None:
    made = planted.films()
    encode = encoder(made)
    kinds = [session(made, *(n for n in range(80) if n % 5 == k)) for k in range(5)]
    states = np.stack([encode.state(s) for s in kinds])
    distances = np.linalg.norm(states[:, None] - states[None], axis=-1)
    assert distances[~np.eye(5, dtype=bool)].min() > 0.3
    by_year = np.argsort(made.features.numbers[0].raw)
    old, new = (encode.state(session(made, *by_year[cut])) for cut in (slice(10), slice(-10, None)))
    assert np.abs(old - new).max() > 0.5


def test_the_length_of_a_short_history_is_seen(made: Planted) -> None:
    encode = encoder(made)
    states = [encode.state(session(made, *[5] * n)) for n in (1, 3, 10, 40)]
    assert np.abs(states[0] - states[1]).max() == pytest.approx(0.2, abs=1e-6)
    assert np.allclose(states[2], states[3], atol=1e-6)


MADE = planted.films()
IDS = MADE.catalog.item_ids


def block_encoder(
    blocks: Sequence[BlockName] = BLOCK_NAMES,
) -> RecencySessionEncoder:
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
    indices = [MADE.catalog.index[item_id] for item_id in session.items[-HISTORY_LENGTH:]]
    weights = 0.8 ** np.arange(len(indices))[::-1]
    weights /= weights.sum()
    parts = [weights @ described[indices], weights @ numbers[indices], numbers[indices].std(axis=0)]
    return np.concatenate([*parts, [len(indices) / 10]])


def test_the_default_state_is_what_it_was_before_there_were_blocks() -> None:
    for session in sessions(40):
        assert block_encoder(DEFAULT_BLOCKS).state(session) == pytest.approx(
            as_before(session), abs=1e-6
        )


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_vectors_do_not_depend_on_the_batch(
    monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(encoder_module, "_BATCH_SIZE", batch_size)
    many = sessions(60)
    states, queries = (
        block_encoder().states(many),
        block_encoder().queries(many),
    )
    backward = block_encoder().states(many[::-1])[::-1]
    assert np.array_equal(states, backward)
    alone = block_encoder()
    for row, session in enumerate(many):
        assert np.array_equal(alone.state(session), states[row])
        assert np.array_equal(alone.query(session), queries[row])
    assert states.dtype == queries.dtype == np.float32


def test_an_empty_batch_has_the_right_shapes() -> None:
    encode = block_encoder()
    state, query = encode.state(sessions(1)[0]), encode.query(sessions(1)[0])
    assert encode.states([]).shape == (0, len(state))
    assert encode.queries([]).shape == (0, len(query))


def test_equal_content_under_another_id_is_encoded_once(encoded: list[int]) -> None:
    encode = block_encoder()
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


def test_candidates_that_no_block_uses_are_not_content(encoded: list[int]) -> None:
    encode = block_encoder(DEFAULT_BLOCKS)
    session = Session(session_id="a", items=(IDS[1],), candidates=(IDS[3],))
    encode.state(session)
    encode.state(session.model_copy(update={"candidates": ("no item of the catalogue",)}))
    assert encoded == [1]


def test_a_batch_encodes_what_is_new_to_it_once(encoded: list[int]) -> None:
    encode, many = block_encoder(), sessions(20)
    encode.states(many[:5])
    encode.queries([*many, *many])
    assert encoded == [5, 15]


def test_the_last_used_sessions_are_cached(
    monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    monkeypatch.setattr(encoder_module, "CACHED_SESSIONS", 3)
    encode = block_encoder()
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
    assert np.array_equal(encode.states(many), block_encoder().states(many))
    assert len(encode._cached) == 3


def test_returned_arrays_are_copies() -> None:
    encode, (session,) = block_encoder(), sessions(1)
    expected = encode.state(session), encode.query(session)
    for made in (encode.state(session), encode.query(session)):
        made[:] = 7
    for rows in (encode.states([session]), encode.queries([session])):
        rows[:] = 7
    assert np.array_equal(encode.state(session), expected[0])
    assert np.array_equal(encode.query(session), expected[1])


def test_many_threads_share_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "CACHED_SESSIONS", 5)
    encode, many = block_encoder(), sessions(25)
    expected = block_encoder().states(many)

    def work(seed: int) -> bool:
        order = random.Random(seed).sample(range(25), 25)
        right = [np.array_equal(encode.state(many[n]), expected[n]) for n in order]
        return all(right) and np.array_equal(
            encode.states([many[n] for n in order]), expected[order]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
