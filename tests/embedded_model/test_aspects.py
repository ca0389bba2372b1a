import numpy as np
import pytest
from embedded_model.planted import Planted

from agentrec.catalog import AttributeValue, Catalog, Item
from agentrec.embedded_model.aspects import FAME_WORDS, LEVEL_WORDS, plain_words

ALL = 60


def planted(counts: dict[str, int] | None = None, **columns: list[AttributeValue]) -> Planted:
    items = [
        Item(item_id=f"i{n}", title=f"T{n}", attributes={k: c[n] for k, c in columns.items()})
        for n in range(ALL)
    ]
    return Planted.of(Catalog(items), counts)


def test_phrases_and_tokens_are_unique_and_scores_standardised(
    films: Planted, titles: Planted
) -> None:
    for made in (films, titles):
        assert len(made.aspects) > 5
        assert len({aspect.phrase for aspect in made.aspects}) == len(made.aspects)
        assert len({aspect.token for aspect in made.aspects}) == len(made.aspects)
        for aspect in made.aspects:
            assert aspect.scores.shape == (80,)
            assert float(aspect.scores.mean()) == pytest.approx(0, abs=1e-5)
            assert float(aspect.scores.std()) == pytest.approx(1, abs=1e-4)


def test_the_planted_values_are_all_there(films: Planted) -> None:
    phrases = [aspect.phrase for aspect in films.aspects]
    assert {"kind tragic tale", "kind horror", "kind war"} < set(phrases)
    assert {"high made in", "low made in", *FAME_WORDS} < set(phrases)
    horror = films.aspect("kind horror").scores > 0
    holders = ["Horror" in films.catalog[i].attributes["kind"] for i in films.catalog.item_ids]  # type: ignore[operator]
    assert horror.tolist() == holders


@pytest.mark.parametrize(
    "values",
    [
        [1950 + (n * 37) % 60 for n in range(ALL)],
        [-30 + n for n in range(ALL)],
        [n % 3 for n in range(ALL)],
        [float(n // 4) for n in range(ALL)],
    ],
)
def test_ranges_hold_every_known_value_once(values: list[AttributeValue]) -> None:
    made = planted(n=values)
    ranges = [a for a in made.aspects if a.phrase.startswith("n ")]
    assert len(ranges) >= 2
    inside = np.stack([aspect.scores > 0 for aspect in ranges])
    assert (inside.sum(axis=0) == 1).all()
    for aspect, members in zip(ranges, inside, strict=True):
        words = aspect.phrase.replace("minus ", "-").split()[1:]
        low, high = float(words[0]), float(words[-1])
        assert all(low <= float(v) <= high for v, m in zip(values, members, strict=True) if m)  # type: ignore[arg-type]


def test_negative_numbers_are_written_in_words() -> None:
    phrases = [a.phrase for a in planted(n=[-30 + n for n in range(ALL)]).aspects]
    assert any(phrase.startswith("n minus 30 to minus ") for phrase in phrases)
    assert not any("-" in phrase for phrase in phrases)


def test_numbers_with_fractions_get_level_words() -> None:
    made = planted(cost=[n / 7 for n in range(ALL)])
    assert [aspect.phrase for aspect in made.aspects] == [
        "high cost",
        "low cost",
        *(f"cost {word}" for word in LEVEL_WORDS),
    ]
    highest = made.aspect("cost highest").scores > 0
    assert highest.tolist() == [False] * 48 + [True] * 12


def test_titles_alone_give_themes_and_fame(titles: Planted) -> None:
    phrases = [aspect.phrase for aspect in titles.aspects]
    assert set(FAME_WORDS) & set(phrases)
    themes = [phrase for phrase in phrases if phrase not in FAME_WORDS]
    assert len(themes) >= 5
    assert all(theme.startswith("theme ") for theme in themes)
    for phrase in themes:
        word = phrase.removeprefix("theme ")
        holds = np.array([word in i.title.casefold() for i in titles.catalog.values()])
        scores = titles.aspect(phrase).scores
        assert scores[holds].mean() > scores[~holds].mean() + 1


def test_fame_words_speak_of_counts_and_never_of_an_attribute() -> None:
    phrases = [aspect.phrase for aspect in planted(fame=list(range(ALL))).aspects]
    assert not set(FAME_WORDS) & set(phrases)
    assert "high fame" in phrases
    made = planted({f"i{n}": n for n in range(ALL)}, fame=[-n for n in range(ALL)])
    assert made.aspect("widely known").scores[-1] > 0 > made.aspect("widely known").scores[0]


def test_similar_or_wordless_names_give_unique_tokens() -> None:
    made = planted(
        **{
            "a_b": ["x y" if n % 2 else "x_z_" for n in range(ALL)],
            "a b": ["x_y" if n % 3 else "w" for n in range(ALL)],
            "***": ["p" if n % 2 else "q" for n in range(ALL)],
            "€": [n % 5 for n in range(ALL)],
        }
    )
    tokens = [aspect.token for aspect in made.aspects]
    assert len(set(tokens)) == len(tokens)
    assert {"a_b_x_y", "a_b_x_z", "a_b_w", "value_p", "high_value"} <= set(tokens)
    assert all(plain_words(aspect.phrase) == aspect.phrase for aspect in made.aspects)


def test_values_that_all_items_have_are_left_out() -> None:
    assert planted(c=["same"] * ALL).aspects == ()


def test_a_catalogue_without_attributes_or_repeated_words_has_no_aspects() -> None:
    assert planted().aspects == ()
