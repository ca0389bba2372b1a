"""Questions and preferences can be read again, whatever the network would rather write."""

from __future__ import annotations

import pytest
from embedded_model.planted import Planted, compact, factors, text_prompt

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.generation.decoding import AnswerGrammar
from agentrec.embedded_model.language.text_grammar import HINT_END, factor_token
from agentrec.embedded_model.language.vocabulary import END
from agentrec.llm.answers.parsing import parse_question
from agentrec.llm.answers.preference_statements import parse_preference


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_an_untaught_network_keeps_to_the_form(
    films: Planted, seed: int, temperature: float
) -> None:
    chat = CatalogChatModel(catalog_model=films.untrained(), temperature=temperature, seed=seed)
    session = films.session(seed)
    asked = factors(films)
    said = chat.invoke(text_prompt("preference", films, session)).text
    told = parse_preference(said, asked)
    # Every line can be read: none is of a factor that was not asked for, and none comes twice.
    assert len(told) == len(said.splitlines())
    assert told
    for stated in told:
        mentioned = [name for name in asked if f" {name} " in f" {stated.preference} "]
        assert mentioned in ([], [stated.factor])
    question = chat.invoke(text_prompt("question", films, session)).text
    assert parse_question(question) == question
    assert question.startswith("Do you prefer ")
    assert question.count(" or ") == 1
    assert question.endswith("?")


def test_an_answer_ends_after_any_line_and_after_the_last_one_it_must(films: Planted) -> None:
    session, asked = films.session(0), factors(films)
    lengths = {
        len(parse_preference(chat.invoke(text_prompt("preference", films, session)).text, asked))
        for seed in range(12)
        for chat in [CatalogChatModel(catalog_model=films.untrained(), temperature=1.5, seed=seed)]
    }
    assert {len(asked)} < lengths <= {*range(1, len(asked) + 1)}

    ids = films.vocabulary.ids
    own = frozenset(ids[factor_token(factor)] for factor in asked)
    phrases = {
        factor: films.vocabulary.ids[one.token] for one in films.aspects for factor in [one.factor]
    }
    prompt = compact(films, text_prompt("preference", films, session))
    form = AnswerGrammar(
        prompt, films.vocabulary, frozenset(ids[one.token] for one in films.aspects)
    )
    written: list[int] = []
    # Before the first line it may not end: silence would be taken for a failed call.
    assert form.allowed(written) == own
    for number, factor in enumerate(asked, start=1):
        token = ids[factor_token(factor)]
        for next_token in (token, ids[":"], phrases[factor], ids[HINT_END]):
            allowed = form.allowed(written)
            assert allowed is not None
            assert next_token in allowed
            assert (ids[END] in allowed) == (number > 1 and next_token == token)
            written.append(next_token)
        own -= {token}
        assert form.allowed(written) == own | {ids[END]}
    assert not own


@pytest.mark.parametrize("numbered", [False, True])
def test_where_there_is_one_thing_to_say_of_a_factor_it_is_said_alone(numbered: bool) -> None:
    marked = Planted.of(
        Catalog(
            Item(
                item_id=str(n),
                title=f"Q{n}",
                attributes=({"kind": ("a",)} if n % 2 else {})
                | ({"made_in": 1950 + n} if numbered else {}),
            )
            for n in range(40)
        )
    )
    assert [one.phrase for one in marked.aspects if one.factor == "kind"] == ["kind a"]
    for seed in range(6):
        chat = CatalogChatModel(catalog_model=marked.untrained(), temperature=1.5, seed=seed)
        said = chat.invoke(text_prompt("preference", marked, marked.session(seed))).text
        assert [line for line in said.splitlines() if line.startswith("kind")] in ([], ["kind: a"])
        asked = chat.invoke(text_prompt("question", marked, marked.session(seed))).text
        assert "<" not in said + asked
        assert numbered or (said, asked) == ("kind: a", "Do you prefer kind a?")
