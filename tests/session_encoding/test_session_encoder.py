import numpy as np
import pytest
from embedded_model import planted
from embedded_model.planted import Planted

from agentrec.llm.prompts.session_view import HISTORY_LENGTH
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


def session(made: Planted, *places: int) -> Session:
    return Session(session_id="s", items=tuple(made.catalog.item_ids[p] for p in places))


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
    places = list(range(20, 33))
    plain = session(made, *places)
    for changed in range(13):
        other = session(made, *[67 if n == changed else p for n, p in enumerate(places)])
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


def test_the_state_tells_kinds_and_numbers_apart() -> None:
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
