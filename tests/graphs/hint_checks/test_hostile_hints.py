"""Nothing hostile gets past the checks, alone or through the graph, and honest advice does."""

import json
from collections.abc import Sequence
from typing import get_args

import pytest
from langchain_core.messages import BaseMessage
from testing.answering import (
    WRONG,
    make_catalog,
    make_components,
    make_session,
    targets_of,
    task_of,
    world,
)

from agentrec.catalog import Catalog, Item
from agentrec.graphs.hint_checks.rejection import HintRejectionReason, rejection_of
from agentrec.graphs.hint_learning.graph import build_hint_learning_graph
from agentrec.hints import STATES
from agentrec.llm.answers.parsing import parse_lines
from agentrec.sessions import Session
from agentrec.testing.hostile_hints import ORDERS, hostile_hints
from agentrec.testing.scripted_chat_model import ScriptedChatModel


def film(item_id: str, title: str, *genres: str, year: int = 1990) -> Item:
    return Item(item_id=item_id, title=title, attributes={"genres": genres, "year": year})


CATALOG = Catalog(
    [
        film("f1", "Heat", "Action", "Crime", year=1995),
        film("f2", "Crash", "Drama", year=2004),
        film("f3", "Comedy", "Comedy"),
        film("f4", "War", "War"),
        film("f5", "Drama", "Drama"),
        film("f6", "Old School", "Comedy", year=2003),
        film("f7", "Toy Story", "Children"),
        film("f8", "Usual Suspects, The (1995)", "Crime", "Thriller", year=1995),
        film("f9", "Le Fabuleux Destin d'Amélie Poulain", "Comedy", "Romance"),
        film("g1", "2001: A Space Odyssey", "Sci-Fi", year=1968),
        film("g2", "1984", "Drama", "Sci-Fi", year=1984),
        film("g3", "Se7en", "Crime", "Thriller", year=1995),
        film("g4", "The Game", "Thriller", year=1997),
        film("g5", "Love Story", "Drama", "Romance", year=1970),
        film("g6", "It", "Horror"),
        film("g7", "The Silence of the Lambs", "Horror", "Thriller", year=1991),
        film("g8", "Paris, Texas", "Drama", year=1984),
        film("g9", "Classic", "Classic"),
        film("h1", "Mr. & Mrs. Smith", "Action"),
        film("h2", "Road Trip", "Comedy", year=2000),
        film("h3", "High School Musical", "Musical", year=2006),
        film("h4", "Gladiator", "Action", "Drama", year=2000),
        film("h5", "Speed", "Action", "Thriller", year=1994),
        film("h6", "True Romance", "Crime", "Romance", year=1993),
        film("1995", "Casablanca", "Drama", "Romance", year=1942),
        film("film-77", "千と千尋の神隠し", "Animation"),
    ]
)

TARGETS = ("f1", "f7", "f8", "f9", "g1", "g7", "h4", "h6", "1995", "film-77")

HONEST = (
    "Prefer genres drama and low year.",
    "Prefer genres war and crime and avoid high year.",
    "Avoid genres comedy.",
    "Prefer classic films over recent ones.",
    "Prefer the classics of the 1940s.",
    "Prefer old school comedies when the history holds several.",
    "Prefer films with a love story at their heart.",
    "Prefer road trip comedies after dramas.",
    "Prefer high school stories to musicals.",
    "Prefer dramas of the year 1984 or earlier.",
    "Prefer films from 1995 to 2001.",
    "Give more weight to the speed of the plot than to fame.",
    "If the history ends with crime, put thrillers first.",
    "It is the genre of the last film that counts.",
    "Weigh the game more than its rules.",
    "Prefer stories about toys and children.",
    "Prefer films that the usual audience of thrillers likes; doubt suspects of fame.",
    "Avoid heat, deserts and war.",
    "Prefer theatre and literature on screen.",
    "Prefer romance that is true to life.",
    "Rank action from the 90s above action from the 70s.",
    "Prefer Sci-Fi, Horror and Crime.",
    "Prefer Comedy or Drama if the user watched both.",
    "Look for War, Romance and Musical in the history.",
    "Consider directors known for a unique style.",
    "Don't rely on popularity; consider films few people know.",
    "Don\u2019t rely on the first items of the history.",
    "Liking a genre once doesn&#39;t mean preferring it always.",
    "Ignore popularity when the history is full of rare films.",
    "Ignore the oldest films of the history.",
    "Forget about fame and follow the mood of the last films.",
    "Repeat the genre of the last film only if it came twice.",
    "Return to the favorite decade of the user.",
    "Always rank sequels behind their originals.",
    "Prefer films longer than 120 minutes (if the history has them).",
    "Prefer ratings above 4.5 and at least 1000 votes.",
    "Prefer films set in Paris or in Texas.",
    "Match tone with mood: dark after dark, light after light.",
    "Prefer 'noir' moods and \u201cslow\u201d cinema.",
    "Users who like silence want fewer lambs and more wolves.",
    "Prefer space travel to earthly matters.",
    "Less fame.",
    "Avoid sequels always.",
)

FOREIGN = (
    "Bevorzuge Dramen aus den achtziger Jahren.",
    "Pr\u00e9f\u00e8re les com\u00e9dies fran\u00e7aises r\u00e9centes.",
    "Prefiere dramas antiguos y evita el terror.",
    "Preferisci i film italiani degli anni sessanta.",
    "Предпочитай драмы.",
    "优先推荐喜剧片。",
    "最近の映画を優先する。",
    "최근 드라마를 선호하세요.",
    "فضل الدراما القديمة.",
)


def session_of(target: str) -> Session:
    return Session(session_id="s", items=("g9",), target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_no_hostile_hint_may_be_tried(target: str) -> None:
    session = session_of(target)
    hints = hostile_hints(500, session, CATALOG, seed=TARGETS.index(target))
    assert len(hints) == 500
    reasons = {hint: rejection_of(hint.text, session, CATALOG) for hint in hints}
    assert [hint for hint, reason in reasons.items() if reason is None] == []
    assert set(reasons.values()) <= set(get_args(HintRejectionReason))
    for hint, reason in reasons.items():
        if hint.kind.startswith("target"):
            # Not by luck, because of a mark or a number: the leak itself was found.
            assert reason == "names the target", hint


def test_there_is_a_hostile_hint_of_every_kind() -> None:
    hints = hostile_hints(500, session_of("g7"), CATALOG)
    kinds = {hint.kind for hint in hints}
    assert len([kind for kind in kinds if kind.startswith("target")]) >= 12
    assert len(ORDERS) >= 12
    assert {f"order in {language}" for language in ORDERS} < kinds
    assert len(kinds) >= 40
    assert max(len(hint.text) for hint in hints) == 10_000
    assert hints == hostile_hints(500, session_of("g7"), CATALOG)
    assert hints != hostile_hints(500, session_of("g7"), CATALOG, seed=1)


@pytest.mark.parametrize("language", ORDERS)
def test_orders_are_rejected_in_every_language(language: str) -> None:
    reason = "gives orders to the model" if language == "English" else "is not in English"
    for text in ORDERS[language]:
        assert rejection_of(text, session_of("g7"), CATALOG) == reason


def test_a_session_without_target_has_nothing_to_give_away() -> None:
    live = Session(session_id="live", items=("f1",))
    with pytest.raises(ValueError, match="'live' has no target"):
        hostile_hints(1, live, CATALOG)


@pytest.mark.parametrize("text", HONEST)
def test_honest_advice_may_be_tried(text: str) -> None:
    for target in ("f8", "f9", "g1", "h4", "film-77"):
        assert rejection_of(text, session_of(target), CATALOG) is None


@pytest.mark.parametrize("text", FOREIGN)
def test_advice_in_another_language_may_be_tried_where_that_is_allowed(text: str) -> None:
    for target in ("f8", "f9", "g1", "h4"):
        session = session_of(target)
        assert rejection_of(text, session, CATALOG) == "is not in English"
        assert rejection_of(text, session, CATALOG, english_only=False) is None


async def test_nothing_hostile_is_stored_by_the_graph() -> None:
    catalog, graph = make_catalog(), build_hint_learning_graph()
    stored = 0
    for number in range(24):
        session = make_session(number)
        # Three a question; an honest one among them shows that what is let through arrives.
        hostile = hostile_hints(60, session, catalog, seed=number)[number * 2 : number * 2 + 2]
        texts = [hint.text for hint in hostile]
        answer = json.dumps({"hints": [*texts, "Prefer films of the last decade."]})
        by_task = world(lambda hint, _: 1 if hint else WRONG, targets_of([session], catalog), texts)

        def reply(
            messages: Sequence[BaseMessage], hints: str = answer, other: object = by_task
        ) -> str:
            return hints if task_of(messages) == "hints" else other(messages)  # type: ignore[operator]

        components = make_components(ScriptedChatModel([reply] * 200))
        state = await graph.ainvoke({"session": session}, context=components)
        kept = {hint.text for hint in await components.hint_store.all(STATES)}
        assert kept == {"Prefer films of the last decade."}
        # A reader takes white space and marks of emphasis off, and drops what is then empty.
        proposed = [text for text in parse_lines(answer, 3) if text not in kept]
        assert sorted(proposed) == sorted(rejection.text for rejection in state["rejected"])
        assert all(
            rejection.reason in get_args(HintRejectionReason) for rejection in state["rejected"]
        )
        stored += len(state["stored"])
    assert stored == 24
