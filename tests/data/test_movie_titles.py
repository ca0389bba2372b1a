from __future__ import annotations

import pytest

from agentrec.data.movielens import split_year


@pytest.mark.parametrize(
    ("written", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Postman, The (1997)", "Postman, The", 1997),
        ("Seven (Se7en) (1995)", "Seven (Se7en)", 1995),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("Marlene Dietrich (1996) ", "Marlene Dietrich", 1996),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("French Twist (Gazon maudit)", "French Twist (Gazon maudit)", None),
        ("(1995)", "(1995)", None),
        ("unknown", "unknown", None),
    ],
)
def test_the_year_goes_and_the_title_stays(written: str, title: str, year: int | None) -> None:
    assert split_year(written) == (title, year)
