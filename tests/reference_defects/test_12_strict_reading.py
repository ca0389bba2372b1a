"""12: answers are parsed by substrings and full stops; headings and foreign items take places."""

from __future__ import annotations

from dataclasses import replace

import pytest
from testing.answering import TitleEncoder, make_components

from agentrec.catalog import Catalog, Item
from agentrec.graphs.recommendation.ranking import rank
from agentrec.llm.answers.parsing import ParsedRanking, parse_ranking
from agentrec.llm.prompts.session_view import SessionView
from agentrec.sessions import Session
from agentrec.testing.scripted_chat_model import ScriptedChatModel

TITLES = {
    "heat": "Heat",
    "heathers": "Heathers",
    "mr": "Mr. Holland's Opus",
    "vs": "Marvel vs. Capcom 2: New Age. Gold",
    "alien": "Alien",
    "aliens": "Aliens",
    "ten": "10. Kavalkade",
    "top": "Top Hat",
}
CATALOG = Catalog(Item(item_id=item_id, title=title) for item_id, title in TITLES.items())
SESSION = Session(session_id="s", items=("top",), target="heat", candidates=tuple(TITLES))


def read(answer: str) -> ParsedRanking:
    return parse_ranking(answer, SessionView.of(SESSION, CATALOG))


async def first_of(answer: str) -> str:
    """The only item of a ranking of length 1."""
    components = make_components(ScriptedChatModel([answer] * 2), list_length=1)
    components = replace(components, catalog=CATALOG, encoder=TitleEncoder(CATALOG))
    (item_id,) = (await rank(SESSION, None, components)).item_ids
    return item_id


@pytest.mark.parametrize(("named", "own"), [("Heathers", "heathers"), ("Aliens", "aliens")])
async def test_12_a_title_inside_a_longer_one_is_no_hit(named: str, own: str) -> None:
    assert read(f"1. {named}").item_ids == (own,)
    assert await first_of(f"1. {named}") == own


def test_12_a_sentence_that_holds_a_title_names_nothing() -> None:
    parsed = read(
        "1. Something in the heat of the night\n2. The heat is on: Heat, Alien and others"
    )
    assert (parsed.item_ids, parsed.illegal) == ((), 2)


@pytest.mark.parametrize("item_id", ["mr", "vs", "ten"])
@pytest.mark.parametrize(
    "form", ["1. {}", "1) {}", "- 1: {}", "**1. {}**", '{{"ranking": ["{}"]}}']
)
def test_12_a_title_with_full_stops_is_read_whole(item_id: str, form: str) -> None:
    assert read(form.format(TITLES[item_id])).item_ids == (item_id,)


def test_12_headings_and_talk_take_no_place() -> None:
    answer = "\n".join(
        [
            "# Top 10 recommendations",
            "Here are the candidates that fit Heat best:",
            "",
            "**Dramas**",
            "1. Heathers",
            "",
            "**Others:**",
            "2. Heat",
            "I hope that this helps with Alien!",
        ]
    )
    assert read(answer) == ParsedRanking(("heathers", "heat"), illegal=0)


async def test_12_items_from_elsewhere_are_counted_and_take_no_place() -> None:
    parsed = read("1. Casablanca\n2. C99 | Heat\n3. Heat\n4. Heat\n5. Mr. Holland's Opus")
    assert (parsed.item_ids, parsed.illegal) == (("heat", "mr"), 3)
    assert await first_of("1. Casablanca\n2. Heat") == "heat"
