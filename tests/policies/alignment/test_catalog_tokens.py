"""What the embedded model wrote is found again as its own words; anything else is refused."""

from __future__ import annotations

import pytest
from app.planted_pairs import LIKED, pair_of, planted_pairs, world
from embedded_model import planted
from hypothesis import given
from hypothesis import strategies as st

from agentrec.embedded_model.text_grammar import (
    HINT_END,
    detokenize,
    factor_token,
    preference_words,
)
from agentrec.embedded_model.vocabulary import END, prompt_tokens
from agentrec.policies.alignment.pair_encoding import EmbeddedPairTokenizer, NotEncodableError
from agentrec.preferences import ChatTurn

ENCODER = EmbeddedPairTokenizer(world().vocabulary)
FACTORS = sorted({aspect.factor for aspect in world().aspects})


PREFERENCES = st.lists(st.sampled_from(FACTORS), min_size=1, max_size=3, unique=True).flatmap(
    lambda factors: st.tuples(
        *(
            st.lists(st.sampled_from(places_of(factor)), min_size=1, max_size=2, unique=True)
            for factor in factors
        )
    ).map(lambda chosen: list(zip(factors, chosen, strict=True)))
)


def places_of(factor: str) -> list[int]:
    return [at for at, aspect in enumerate(world().aspects) if aspect.factor == factor]


@given(PREFERENCES)
def test_every_text_it_can_write_is_read_back(preferred: list[tuple[str, list[int]]]) -> None:
    said = [(factor, [world().aspects[at] for at in places]) for factor, places in preferred]
    words = preference_words(said)
    assert ENCODER.words(detokenize("preference", 10, words)) == words


def test_prompt_and_texts_are_what_the_model_reads_and_writes() -> None:
    pair = planted_pairs(1)[0]
    prompt, chosen, rejected = ENCODER.tokens(pair)
    session = planted.text_prompt("preference", world(), world().session(0))
    compact = planted.compact(world(), session)
    assert prompt == prompt_tokens("preference", compact.sections, world().vocabulary)
    ids = world().vocabulary.ids
    assert chosen[-2:] == rejected[-2:] == [ids[HINT_END], ids[END]]
    line = [ids[factor_token("made in")], ids[":"], ids["low_made_in"], ids[HINT_END]]
    assert any(chosen[at : at + 4] == line for at in range(len(chosen)))


@pytest.mark.parametrize(
    "text",
    [
        "kind: comedies of manners",
        "Kind: comedy",
        "kind: comedy (Clown of 3)",
        "kind: comedy\n\nfame: well known",
        "kind : comedy",
        "1. kind: comedy",
        "I would say comedy",
        "\n",
        "kind: " + " and ".join(["comedy"] * 3000),
    ],
)
def test_what_it_has_no_words_for_is_refused(text: str) -> None:
    with pytest.raises(NotEncodableError, match="no words for"):
        ENCODER.words(text)


def test_a_broken_line_of_its_own_words_is_read() -> None:
    assert ENCODER.words("low made in") == ["low_made_in", HINT_END]
    assert ENCODER.words("kind: comedy and") == ["kind", ":", "kind_comedy", "and", HINT_END]


def test_a_prompt_for_something_else_is_refused() -> None:
    pair = pair_of(0, LIKED, "kind: war")
    ranking = ChatTurn(role="user", content=pair.prompt[-1].content.replace("preference", "rank"))
    with pytest.raises(NotEncodableError, match="does not ask"):
        ENCODER.tokens(pair.model_copy(update={"prompt": (ranking,)}))


def test_a_prompt_of_another_catalogue_is_refused() -> None:
    pair = pair_of(0, LIKED, "kind: war")
    content = "Task: preference\n\n<history>\n1. Unheard of\n</history>"
    turn = ChatTurn(role="user", content=content)
    with pytest.raises(NotEncodableError, match="knows no item"):
        ENCODER.tokens(pair.model_copy(update={"prompt": (turn,)}))
