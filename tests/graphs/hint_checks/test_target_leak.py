import time

import pytest

from agentrec.catalog import Catalog, Item
from agentrec.graphs.hint_checks.target_leak import leaks_target
from agentrec.sessions import Session

CATALOG = Catalog(
    [
        Item(item_id="toy", title="Toy Story (1995)"),
        Item(item_id="toy-2", title="Toy Story 2 (1999)"),
        Item(item_id="wars", title="Star Wars (1977)"),
        Item(item_id="empire", title="Star Wars: The Empire Strikes Back (1980)"),
        Item(item_id="heat", title="Heat (1995)"),
        Item(item_id="hamlet-1", title="Hamlet", attributes={"year": 1990}),
        Item(item_id="hamlet-2", title="Hamlet", attributes={"year": 1996}),
        Item(item_id="cjk", title="千と千尋の神隠し"),
        Item(item_id="up", title="Up"),
        *(Item(item_id=f"i{number}", title=f"Film {number}") for number in range(12)),
    ]
)


def leaks(text: str, target: str | None, *history: str) -> bool:
    return leaks_target(text, Session(session_id="s", items=history, target=target), CATALOG)


@pytest.mark.parametrize(
    ("text", "target", "history"),
    [
        ("genre: animation (Toy Story)", "toy", ("heat",)),
        ("genre: animation\nmood: TOY-STORY", "toy", ("heat",)),
        ("genre: animation (T0y St0ry)", "toy", ("heat",)),
        ("genre: animation (&#84;oy Story)", "toy", ("heat",)),
        ("genre: animation (Toy Story 2)", "toy-2", ("heat",)),
        # Cited titles that are like the target's.
        ("genre: animation (Toy Story, Toy Story 2)", "toy-2", ("toy",)),
        ("genre: animation (Toy Story)", "toy", ("toy-2",)),
        ("genre: space (Star Wars, Empire Strikes Back)", "empire", ("wars",)),
        ("genre: space (Star Wars)", "empire", ("heat",)),
        ("kind: plays (Hamlet (1996))", "hamlet-2", ("hamlet-1",)),
        ("種類: アニメ (千と千尋の神隠し)", "cjk", ("toy",)),
        # The last ten items are shown.
        ("genre: animation (Toy Story)", "toy-2", ("toy", *(f"i{n}" for n in range(10)))),
    ],
)
def test_the_target_is_found(text: str, target: str, history: tuple[str, ...]) -> None:
    assert leaks(text, target, *history)


@pytest.mark.parametrize(
    ("text", "target", "history"),
    [
        ("genre: animation (Toy Story, Heat)", "toy-2", ("toy", "heat")),
        ("genre: animation (Toy Story 2)", "toy", ("toy-2",)),
        ("genre: space (Star Wars)", "empire", ("wars",)),
        ("kind: plays (Hamlet)", "hamlet-2", ("hamlet-1",)),
        ("genre: animation (Toy Story)", "toy", ("toy", "heat")),
        ("genre: animation (Toy (Heat) Story)", "toy-2", ("heat",)),
        ("mood: what cheers up (Up, Film 3)", "toy", ("up", "i3")),
        ("genre: comedy and drama\nperiod: 1995", "toy", ("heat",)),
        ("", "toy", ("heat",)),
        ("genre: animation (Toy Story)", None, ("heat",)),
    ],
)
def test_what_the_model_was_shown_is_no_leak(
    text: str, target: str | None, history: tuple[str, ...]
) -> None:
    assert not leaks(text, target, *history)


def test_what_was_shown_can_be_said() -> None:
    session = Session(session_id="s", items=("heat", "toy"), target="toy-2")
    text = "genre: animation (Toy Story)"
    assert not leaks_target(text, session, CATALOG)
    assert leaks_target(text, session, CATALOG, shown=("heat",))
    assert not leaks_target(text, session, CATALOG, shown=("toy-2",))
    # An item that is in no catalogue any more has no title to be cited.
    assert leaks_target(text, session, CATALOG, shown=("gone",))


@pytest.mark.parametrize(
    "line", ["T o y " * 110, "S1ar|W4rs " * 70, "(( Toy Story 2 " * 45, "genre: crime films " * 35]
)
def test_hostile_texts_take_no_time(line: str) -> None:
    # No text is longer that has passed the check of its structure.
    text = "\n".join(f"{number} {line}" for number in range(8))
    # Of the processor, as others may be using it too.
    start = time.process_time()
    leaks(text, "empire", "toy", "up", "heat")
    assert time.process_time() - start < 2
