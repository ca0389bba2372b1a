"""GroupLens writes the year into the title; here they are two facts."""

from __future__ import annotations

import re

_YEAR_BEHIND = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>\d{4})\)(?:\s*\([A-Z]+\))?\s*$")


def split_year(title: str) -> tuple[str, int | None]:
    """Take the year off a title.

    ``Toy Story (1995)`` becomes ``Toy Story`` and 1995. A mark behind the year, as in
    ``Land Before Time III (1995) (V)``, goes too. Articles stay behind (``Postman, The``).

    Args:
        title: A title as GroupLens writes it.

    Returns:
        The title without the year, and the year where there is one.
    """
    match = _YEAR_BEHIND.match(title)
    return (match["title"], int(match["year"])) if match else (title.strip(), None)
