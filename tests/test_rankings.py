import pytest
from pydantic import ValidationError

from agentrec.rankings import Ranking


def test_places_count_from_one() -> None:
    ranking = Ranking(session_id="s", item_ids=("b", "a", "c"))
    assert [ranking.rank_of(i) for i in "bac"] == [1, 2, 3]
    assert ranking.rank_of("x") is None
    assert (ranking.hint_id, ranking.backfilled, ranking.illegal) == (None, 0, 0)
    assert ranking.repaired is False


def test_an_item_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="twice"):
        Ranking(session_id="s", item_ids=("a", "b", "a"))


@pytest.mark.parametrize("wrong", [{"item_ids": ()}, {"backfilled": -1}, {"illegal": -1}])
def test_impossible_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Ranking.model_validate({"session_id": "s", "item_ids": ("a",), **wrong})


def test_a_ranking_does_not_change_and_survives_json() -> None:
    ranking = Ranking(session_id="s", item_ids=("b", "a"), hint_id="h", backfilled=1, repaired=True)
    with pytest.raises(ValidationError):
        ranking.item_ids = ("a",)  # type: ignore[misc]
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking
