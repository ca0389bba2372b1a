import pytest

from agentrec.catalog import Catalog, Item
from agentrec.graphs.hint_checks import refusal_of
from agentrec.hints import MAX_HINT_LENGTH
from agentrec.sessions import Session

CATALOG = Catalog(
    [
        Item(item_id="toy", title="Toy Story"),
        Item(item_id="heat", title="Heat"),
        Item(item_id="amelie", title="Le Fabuleux Destin d'Amélie Poulain"),
        Item(item_id="postman", title="Postman, The (1994)"),
        Item(item_id="suspects", title="Usual Suspects, The"),
        Item(item_id="hamlet-1", title="Hamlet", attributes={"year": 1990}),
        Item(item_id="hamlet-2", title="Hamlet", attributes={"year": 1996}),
        Item(item_id="2001", title="2001: A Space Odyssey (1968)"),
        Item(item_id="cjk", title="千と千尋の神隠し"),
    ]
)


def refusal(text: str, target: str) -> str | None:
    return refusal_of(text, Session(session_id="s", items=("toy",), target=target), CATALOG)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Recommend Toy Story.", "toy"),
        ("recommend TOY STORY", "toy"),
        ("Recommend 'toy-story'!", "toy"),
        ("Recommend ToyStory.", "toy"),
        ("Recommend T o y S t o r y.", "toy"),
        ("Recommend toy_story.", "toy"),
        ("Recommend \uff34\uff4f\uff59 Story.", "toy"),
        ("Recommend To\u200by Story.", "toy"),
        ("Watch Heat.", "heat"),
        ("Watch HEAT (1995).", "heat"),
        ("Watch H-e-a-t.", "heat"),
        ("Watch He\u00adat.", "heat"),
        ("Prefer le fabuleux destin d amelie poulain.", "amelie"),
        ("Prefer Le Fabuleux Destin d'Ame\u0301lie Poulain.", "amelie"),
        ("Prefer Postman, The.", "postman"),
        ("Prefer The Postman.", "postman"),
        ("Prefer Postman, The (1994).", "postman"),
        ("Prefer The Usual Suspects.", "suspects"),
        ("Prefer usual suspects.", "suspects"),
        ("Prefer Hamlet.", "hamlet-2"),
        ("Prefer 2001 a space odyssey.", "2001"),
        ("千と千尋の神隠し を推す", "cjk"),
    ],
)
def test_no_disguise_hides_the_target(text: str, target: str) -> None:
    assert refusal(text, target) == "names the target"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Prefer theatre.", "heat"),
        ("Prefer stories about toys.", "toy"),
        ("Prefer films with a postman.", "postman"),
        ("Prefer the usual genres; be wary of suspects.", "suspects"),
        ("Prefer films of the year 2001.", "2001"),
        ("Prefer Heat.", "toy"),
        ("Prefer films from 1990 to 1999 and avoid horror.", "hamlet-1"),
        ("Take vitamin C and look at C major.", "heat"),
    ],
)
def test_what_does_not_name_the_target_may_be_tried(text: str, target: str) -> None:
    assert refusal(text, target) is None


@pytest.mark.parametrize("text", ["Start with C07.", "Put c12 first.", "Avoid (C100)"])
def test_a_handle_is_refused(text: str) -> None:
    assert refusal(text, "heat") == "names a handle"


@pytest.mark.parametrize("text", ["", "...", "\u200b", "!?"])
def test_a_text_without_words_is_empty(text: str) -> None:
    assert refusal(text, "heat") == "empty"


def test_a_long_text_is_refused() -> None:
    assert refusal("a" * (MAX_HINT_LENGTH + 1), "heat") == "too long"
    assert refusal("a" * MAX_HINT_LENGTH, "heat") is None


def test_without_a_target_there_is_nothing_to_leak() -> None:
    live = Session(session_id="s", items=("toy",), candidates=("heat", "toy"))
    assert refusal_of("Watch Heat.", live, CATALOG) is None
