from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest
import torch
from embedded_model.planted import Planted, rank_prompt

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching import model_cache as teaching
from agentrec.embedded_model.teaching.evaluation import examine
from agentrec.embedded_model.teaching.model_cache import Recipe, obtain_model
from agentrec.embedded_model.teaching.teacher import RuleWeights
from agentrec.embedded_model.teaching.training import OnStep, TrainingPlan
from agentrec.sessions import Session

RECIPE = Recipe(
    plan=TrainingPlan(steps=6, batch_size=4, list_batch_size=2, lists=1, list_size=8),
)


@pytest.fixture(scope="module", autouse=True)
def _short_examination() -> Iterator[None]:
    """Few prompts: what comes out of an examination is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(teaching, "examine", partial(examine, prompts=6, candidates=8))
        yield


class StoppedError(Exception):
    pass


def obtain(
    planted: Planted,
    cache: Path,
    reported: list[tuple[int, int]] | None = None,
    recipe: Recipe = RECIPE,
    on_step: OnStep | None = None,
    counts: Mapping[str, int] | None = None,
) -> CatalogModel:
    steps = [] if reported is None else reported
    return obtain_model(
        planted.catalog,
        planted.features,
        planted.counts if counts is None else counts,
        cache,
        recipe,
        on_step or (lambda done, of: steps.append((done, of))),
    )


@pytest.fixture(scope="module")
def cache(films: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    obtain(films, folder)
    return folder


def names(cache: Path) -> list[str]:
    return sorted(file.name for file in (cache / "catalog-lm").iterdir())


def parameters(model: CatalogModel) -> dict[str, bytes]:
    return {k: p.detach().numpy().tobytes() for k, p in model.network.named_parameters()}


def test_the_first_call_trains_and_the_second_loads(films: Planted, tmp_path: Path) -> None:
    first: list[tuple[int, int]] = []
    second: list[tuple[int, int]] = []
    one, two = obtain(films, tmp_path, first), obtain(films, tmp_path, second)
    assert first == [(n, 6) for n in range(1, 7)]
    assert second == []
    assert names(tmp_path) == [one.name] == [two.name]
    assert parameters(one) == parameters(two)
    assert one.vocabulary == films.vocabulary


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, seed=1),
        replace(RECIPE, weights=RuleWeights(text=0.9)),
        replace(RECIPE, plan=replace(RECIPE.plan, steps=2)),
        replace(RECIPE, plan=replace(RECIPE.plan, learning_rate=1e-5)),
    ],
)
def test_another_recipe_is_another_model(films: Planted, cache: Path, recipe: Recipe) -> None:
    reported: list[tuple[int, int]] = []
    other = obtain(films, cache, reported, recipe)
    assert reported
    assert other.name != obtain(films, cache).name


def test_other_counts_or_items_are_another_model(
    films: Planted, titles: Planted, cache: Path
) -> None:
    counted = obtain(films, cache, counts={**films.counts, "i0": 999})
    assert len({obtain(films, cache).name, counted.name, obtain(titles, cache).name}) == 3
    backwards = dict(reversed(films.counts.items()))
    assert obtain(films, cache, counts=backwards).name == obtain(films, cache).name


def test_a_stopped_training_leaves_no_model_and_is_resumed(
    films: Planted, cache: Path, tmp_path: Path
) -> None:
    def stop(done: int, of: int) -> None:
        if done == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        obtain(films, tmp_path, on_step=stop)
    whole = obtain(films, cache)
    assert names(tmp_path) == [f"{whole.name}.part.safetensors"]
    reported: list[tuple[int, int]] = []
    resumed = obtain(films, tmp_path, reported)
    assert reported == [(5, 6), (6, 6)]
    assert names(tmp_path) == [whole.name]
    assert parameters(resumed) == parameters(whole)


def test_the_card_says_what_it_is(films: Planted, cache: Path) -> None:
    model = obtain(films, cache)
    card = (cache / "catalog-lm" / model.name / "README.md").read_text(encoding="utf-8")
    assert "rule-distilled" in card
    assert "stand-in" in card
    assert "What it is not" in card
    assert model.name in card
    assert all(f"| {aspect.phrase} | " in card for aspect in films.aspects)
    assert "nan" not in card.casefold()
    assert "6 steps" in card
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_teaching_leaves_the_callers_random_numbers_alone(films: Planted, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    obtain(films, tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "items",
    [
        [Item(item_id="a", title="Only")],
        [Item(item_id="a", title="Only", attributes={"y": 3, "k": "x"})],
        [Item(item_id=str(n), title="Same", attributes={"y": 5, "k": "x"}) for n in range(12)],
        [Item(item_id=str(n), title=f"Q{n}") for n in range(12)],
        [Item(item_id=str(n), title=f"Q{n}", attributes={"text": "ab"[n % 2]}) for n in range(12)],
    ],
    ids=["one item", "one item with attributes", "constants", "titles", "named text"],
)
def test_models_of_tiny_catalogues_are_trained_and_answer(
    items: list[Item], tmp_path: Path
) -> None:
    planted = Planted.of(Catalog(items))
    model = obtain(planted, tmp_path)
    assert all(torch.isfinite(p).all() for p in model.network.parameters())
    ids = planted.catalog.item_ids
    session = Session(session_id="s", items=ids[:3], candidates=ids)
    answer = CatalogChatModel(catalog_model=model).invoke(rank_prompt(planted, session)).text
    assert len(answer.splitlines()) == min(10, len(items))


def test_a_second_training_of_the_same_model_waits(films: Planted, tmp_path: Path) -> None:
    steps: list[int] = []
    waited, teaching_first = Event(), Event()

    def slow(done: int, of: int) -> None:
        steps.append(done)
        teaching_first.set()
        assert waited.wait(60)

    def wait(done: int, of: int) -> None:
        assert (done, of) == (0, RECIPE.plan.steps)
        waited.set()

    with ThreadPoolExecutor(1) as other:
        first = other.submit(obtain, films, tmp_path, on_step=slow)
        assert teaching_first.wait(60)
        second = obtain(films, tmp_path, on_step=wait)
        assert second.name == first.result().name
    assert waited.is_set()
    assert sorted(steps) == sorted(set(steps))


def test_a_waiting_training_can_be_stopped(films: Planted, tmp_path: Path) -> None:
    teaching_first, over = Event(), Event()

    def slow(done: int, of: int) -> None:
        teaching_first.set()
        over.wait(60)

    def stop(done: int, of: int) -> None:
        raise StoppedError

    with ThreadPoolExecutor(1) as other:
        first = other.submit(obtain, films, tmp_path, on_step=slow)
        assert teaching_first.wait(60)
        with pytest.raises(StoppedError):
            obtain(films, tmp_path, on_step=stop)
        over.set()
        first.result()
