import random
from collections.abc import Sequence

import pytest
import torch
from llm.catalog_lm.planted import Planted, rank_prompt, text_prompt

from agentrec.llm.catalog_lm.folder import CatalogModel
from agentrec.llm.catalog_lm.generation import Sampling, rank_candidates, write_words
from agentrec.llm.catalog_lm.prompt_tokens import prompt_tokens
from agentrec.llm.catalog_lm.reading import CompactPrompt, read_prompt
from agentrec.llm.catalog_lm.vocabulary import SPECIAL
from agentrec.llm.prompts import PromptName

REFLECTING: tuple[PromptName, ...] = ("critique", "diagnose", "hints")
HOT = Sampling(temperature=1.0, seed=5)


def ranking(films: Planted, seed: int, hint: str | None = None) -> CompactPrompt:
    prompt = read_prompt(rank_prompt(films, films.session(seed), hint), films.vocabulary)
    assert prompt is not None
    return prompt


def writing(films: Planted, seed: int, name: PromptName) -> CompactPrompt:
    prompt = read_prompt(text_prompt(name, films, films.session(seed)), films.vocabulary)
    assert prompt is not None
    return prompt


def listed_as(prompt: CompactPrompt, order: Sequence[int]) -> CompactPrompt:
    return CompactPrompt(
        prompt.task,
        prompt.sections,
        tuple(prompt.candidates[n] for n in order),
        tuple(prompt.lines[n] for n in order),
        prompt.count,
    )


@pytest.mark.parametrize("sampling", [Sampling(), HOT])
def test_the_order_of_the_list_means_nothing(
    films: Planted, taught: CatalogModel, sampling: Sampling
) -> None:
    for seed in range(10):
        prompt = ranking(films, seed)
        order = random.Random(seed).sample(range(20), 20)
        other = listed_as(prompt, order)
        (one,), (two,) = (rank_candidates(taught, [p], [sampling]) for p in (prompt, other))
        assert sorted(one) == list(range(20))
        assert [prompt.candidates[n] for n in one] == [other.candidates[n] for n in two]


def test_exact_ties_go_by_the_catalogue(films: Planted) -> None:
    model = films.untrained()
    with torch.no_grad():
        model.network.model.embed_tokens.weight[model.vocabulary.first_item :] = 1.0
    prompt = ranking(films, 0)
    (order,) = rank_candidates(model, [prompt], [Sampling()])
    ranked = [prompt.candidates[n] for n in order]
    assert ranked == sorted(films.catalog.index[i] for i in films.session(0).candidates)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, seed=3)])
def test_an_unknown_candidate_comes_last(
    films: Planted, taught: CatalogModel, sampling: Sampling
) -> None:
    prompt = ranking(films, 0)
    places = (None, *prompt.candidates[1:10], None, *prompt.candidates[11:])
    strange = CompactPrompt(prompt.task, prompt.sections, places, prompt.lines, 20)
    (order,) = rank_candidates(taught, [strange], [sampling])
    assert set(order[-2:]) == {0, 10}
    assert sorted(order) == list(range(20))


def test_no_candidates_and_no_history_are_no_crash(taught: CatalogModel) -> None:
    empty = CompactPrompt("rank", {}, (), (), 10)
    one = CompactPrompt("rank", {}, (3,), ("C01 | x",), 10)
    assert rank_candidates(taught, [empty, one], [Sampling(), HOT]) == [[], [0]]


def test_a_prompt_alone_or_in_a_crowd_gets_the_same_answer(
    films: Planted, taught: CatalogModel
) -> None:
    hints = [None, "Prefer kind horror.", "Prefer high made in and avoid kind war."]
    ranked = [ranking(films, n, hints[n % 3]) for n in range(64)]
    written = [writing(films, n, REFLECTING[n % 3]) for n in range(64)]
    drawn = [HOT if n % 2 else Sampling() for n in range(64)]
    orders = rank_candidates(taught, ranked, drawn)
    texts = write_words(taught, written, drawn)
    for n in range(64):
        assert rank_candidates(taught, [ranked[n]], [drawn[n]]) == [orders[n]]
    for n in range(6):
        assert write_words(taught, [written[n]], [drawn[n]]) == [texts[n]]
    backwards = write_words(taught, written[::-1], drawn[::-1])
    assert backwards[::-1] == texts


def test_draws_repeat_with_their_seed_and_differ_without(
    films: Planted, taught: CatalogModel
) -> None:
    rank, write = ranking(films, 1), writing(films, 1, "hints")
    samplings = [Sampling(temperature=1.0, seed=seed) for seed in range(8)]
    for answers in (
        [rank_candidates(taught, [rank] * 8, samplings) for _ in range(2)],
        [write_words(taught, [write] * 8, samplings) for _ in range(2)],
    ):
        assert answers[0] == answers[1]
        assert len({tuple(answer) for answer in answers[0]}) > 4


def test_first_places_are_drawn_from_the_models_own_probabilities(
    films: Planted, taught: CatalogModel
) -> None:
    prompt = ranking(films, 2)
    draws = 3000
    samplings = [Sampling(temperature=1.0, seed=seed) for seed in range(draws)]
    orders = rank_candidates(taught, [prompt] * draws, samplings)
    share = torch.tensor([order[0] for order in orders]).bincount(minlength=20) / draws
    tokens = torch.tensor([prompt_tokens("rank", prompt.sections, taught.vocabulary)])
    with torch.inference_mode():
        logits = taught.network(input_ids=tokens).logits[0, -1]
    places = [taught.vocabulary.first_item + c for c in prompt.candidates if c is not None]
    assert torch.allclose(share, logits[places].softmax(-1), atol=0.04)


def test_a_low_temperature_is_close_to_none(films: Planted, taught: CatalogModel) -> None:
    prompts = [ranking(films, n) for n in range(20)]
    cold = rank_candidates(taught, prompts, [Sampling(1e-5, n) for n in range(20)])
    best = rank_candidates(taught, prompts, [Sampling()] * 20)
    same = [one[0] == other[0] for one, other in zip(cold, best, strict=True)]
    # Logits that agree to three decimals are a tie, which a draw breaks in its own way.
    assert sum(same) >= 18


def test_texts_are_what_the_network_itself_would_go_on_with(
    films: Planted, taught: CatalogModel
) -> None:
    """Against the plainest decoding: no cache, no padding, one token at a time."""
    vocabulary = taught.vocabulary
    names = (*SPECIAL, *vocabulary.words)
    barred = [n for n, mark in enumerate(SPECIAL) if mark != "<end>"]
    for seed, name in enumerate(REFLECTING * 2):
        prompt = writing(films, seed, name)
        tokens = prompt_tokens(prompt.task, prompt.sections, vocabulary)
        start = len(tokens)
        with torch.inference_mode():
            while len(tokens) < start + 64:
                logits = taught.network(input_ids=torch.tensor([tokens])).logits[0, -1]
                logits = logits[: vocabulary.first_item]
                logits[barred] = -torch.inf
                said = [names[t] for t in tokens[start:]]
                sentence: list[str] = []
                for word in said:
                    sentence = [] if word in {".", ";"} else [*sentence, word]
                logits[[vocabulary.ids[w] for w in sentence if "_" in w]] = -torch.inf
                token = int(logits.argmax())
                if names[token] == "<end>":
                    break
                tokens.append(token)
        assert write_words(taught, [prompt], [Sampling()]) == [[names[t] for t in tokens[start:]]]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, seed=1)])
def test_an_untrained_network_too_writes_words_alone_and_comes_to_an_end(
    films: Planted, sampling: Sampling
) -> None:
    (words,) = write_words(films.untrained(), [writing(films, 0, "hints")], [sampling])
    assert len(words) <= 64
    assert set(words) <= set(films.vocabulary.words)
