"""Questions and preferences can be read again, whatever the network would rather write."""

from __future__ import annotations

import pytest
from llm.catalog_lm.planted import Planted, factors, text_prompt

from agentrec.llm.answers import parse_question
from agentrec.llm.catalog_lm.chat_model import CatalogChatModel
from agentrec.llm.preferences import parse_preference


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_an_untaught_network_keeps_to_the_form(
    films: Planted, seed: int, temperature: float
) -> None:
    chat = CatalogChatModel(catalog_model=films.untrained(), temperature=temperature, seed=seed)
    session = films.session(seed)
    asked = factors(films)
    told = parse_preference(chat.invoke(text_prompt("preference", films, session)).text, asked)
    assert sorted(stated.factor for stated in told) == sorted(asked)
    for stated in told:
        mentioned = [name for name in asked if f" {name} " in f" {stated.preference} "]
        assert mentioned in ([], [stated.factor])
    question = chat.invoke(text_prompt("question", films, session)).text
    assert parse_question(question) == question
    assert question.startswith("Do you prefer ")
    assert question.count(" or ") == 1
    assert question.endswith("?")
