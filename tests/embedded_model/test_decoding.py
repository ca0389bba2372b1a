"""Questions and preferences can be read again, whatever the network would rather write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from embedded_model.planted import TEXT_TASKS, Planted, compact, factors, rank_prompt, text_prompt

from agentrec.catalog import Catalog, Item
from agentrec.embedded_model.chat_model import CatalogChatModel
from agentrec.embedded_model.decoding import (
    AnswerGrammar,
    Sampling,
    first_choice_logits,
    rank_candidates,
    write_words,
)
from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.prompt_parser import CompactPrompt
from agentrec.embedded_model.text_grammar import HINT_END, factor_token
from agentrec.embedded_model.vocabulary import END, SPECIAL, prompt_tokens
from agentrec.llm.answers.parsing import parse_question
from agentrec.llm.answers.preference_statements import parse_preference
from agentrec.llm.prompts.templates import PromptName

HOT = Sampling(temperature=1.0, seed=5)


def ranking(films: Planted, seed: int, hint: str | None = None) -> CompactPrompt:
    return compact(films, rank_prompt(films, films.session(seed), hint))


def writing(films: Planted, seed: int, name: PromptName) -> CompactPrompt:
    return compact(films, text_prompt(name, films, films.session(seed)))


def plain_logits(model: CatalogModel, row: Sequence[int]) -> torch.Tensor:
    """What the whole network says of every handle, the plainest way."""
    first, last = model.vocabulary.first_handle, model.vocabulary.first_item
    with torch.inference_mode():
        logits: torch.Tensor = model.network(input_ids=torch.tensor([list(row)])).logits[0, -1]
    return logits[first:last]


@pytest.mark.parametrize("shared", [True, False])
def test_first_choice_logits_equal_the_networks_with_and_without_shared_prefixes(
    films: Planted, taught: CatalogModel, shared: bool
) -> None:
    hints = ["Prefer kind horror.", "Avoid kind war and prefer high made in.", None, "Less fame."]
    prompts = [ranking(films, 0 if shared else n, hints[n % len(hints)]) for n in range(6)] + (
        [ranking(films, 7), ranking(films, 7, hints[0])] if shared else []
    )
    rows = [prompt_tokens("rank", p.sections, films.vocabulary) for p in prompts]
    together = first_choice_logits(taught, rows)
    for row, found in zip(rows, together, strict=True):
        assert torch.allclose(torch.from_numpy(found).float(), plain_logits(taught, row), atol=1e-4)
        alone = first_choice_logits(taught, [row])[0]
        assert torch.allclose(torch.from_numpy(found), torch.from_numpy(alone), atol=1e-4)
    samplings = [Sampling()] * len(prompts)
    orders = rank_candidates(taught, prompts, samplings)
    assert orders == [rank_candidates(taught, [p], [Sampling()])[0] for p in prompts]


def test_prompts_of_different_lengths_share_a_batch(films: Planted, taught: CatalogModel) -> None:
    prompts = [
        compact(films, rank_prompt(films, films.session(n, candidates=size), hint))
        for n, size in enumerate((2, 20, 50, 7))
        for hint in (None, "Prefer kind war.", "Prefer kind war and low made in.")
    ]
    orders = rank_candidates(taught, prompts, [Sampling()] * len(prompts))
    for prompt, order in zip(prompts, orders, strict=True):
        assert sorted(order) == list(range(len(prompt.lines)))
        assert rank_candidates(taught, [prompt], [Sampling()]) == [order]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, seed=3)])
def test_an_unknown_candidate_comes_last(
    films: Planted, taught: CatalogModel, sampling: Sampling
) -> None:
    prompt = ranking(films, 0)
    unknown = films.vocabulary.ids["<unk>"]
    tokens = [
        unknown if n in {0, 10} else token
        for n, token in enumerate(prompt.sections["<candidates>"])
    ]
    strange = replace(
        prompt,
        sections={**prompt.sections, "<candidates>": tuple(tokens)},
        known=tuple(n not in {0, 10} for n in range(20)),
    )
    (order,) = rank_candidates(taught, [strange], [sampling])
    assert set(order[-2:]) == {0, 10}
    assert sorted(order) == list(range(20))


@pytest.mark.parametrize("sampling", [Sampling(), HOT])
def test_candidates_after_the_hundredth_come_last_in_their_order(
    films: Planted, taught: CatalogModel, sampling: Sampling
) -> None:
    prompt = ranking(films, 0)
    first = films.vocabulary.first_item
    many = replace(
        prompt,
        sections={**prompt.sections, "<candidates>": tuple(first + n % 80 for n in range(130))},
        known=(True,) * 100 + (False,) * 30,
        lines=("x",) * 130,
    )
    (order,) = rank_candidates(taught, [many], [sampling])
    assert sorted(order) == list(range(130))
    assert set(order[:100]) == set(range(100))


def test_candidates_with_one_label_differ_by_their_handles(
    films: Planted, taught: CatalogModel
) -> None:
    prompt = ranking(films, 0)
    twice = prompt.sections["<candidates>"][:5] * 2
    doubled = replace(
        prompt,
        sections={**prompt.sections, "<candidates>": twice},
        known=(True,) * 10,
        lines=prompt.lines[:5] * 2,
    )
    (order,) = rank_candidates(taught, [doubled], [Sampling()])
    assert sorted(order) == list(range(10))
    # Two of the same stand side by side: neither has anything before the other.
    assert [index % 5 for index in order[::2]] == [index % 5 for index in order[1::2]]


def test_the_same_seed_draws_other_noise_for_other_sessions(
    films: Planted, taught: CatalogModel
) -> None:
    rows = [prompt_tokens("rank", ranking(films, n).sections, films.vocabulary) for n in range(5)]
    noise = {tuple(Sampling(1.0, 7).noise(row).gumbel(size=4)) for row in rows}
    again = {tuple(Sampling(1.0, 7).noise(row).gumbel(size=4)) for row in rows}
    assert noise == again
    assert len(noise) == 5
    assert Sampling(1.0, 8).noise(rows[0]).random() != Sampling(1.0, 7).noise(rows[0]).random()


def test_no_candidates_and_no_history_are_ranked(taught: CatalogModel) -> None:
    empty = CompactPrompt("rank", {}, (), (), 10)
    item = taught.vocabulary.first_item + 3
    one = CompactPrompt("rank", {"<candidates>": (item,)}, (True,), ("C01 | x",), 10)
    assert rank_candidates(taught, [empty, one], [Sampling(), HOT]) == [[], [0]]


def test_an_answer_does_not_depend_on_the_batch(films: Planted, taught: CatalogModel) -> None:
    hints = [None, "Prefer kind horror.", "Prefer high made in and avoid kind war."]
    ranked = [ranking(films, n, hints[n % 3]) for n in range(64)]
    written = [writing(films, n, TEXT_TASKS[n % 5]) for n in range(64)]
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


def test_first_choices_are_drawn_from_the_models_probabilities(
    films: Planted, taught: CatalogModel
) -> None:
    prompt = ranking(films, 2)
    draws = 3000
    samplings = [Sampling(temperature=1.0, seed=seed) for seed in range(draws)]
    orders = rank_candidates(taught, [prompt] * draws, samplings)
    share = torch.tensor([order[0] for order in orders]).bincount(minlength=20) / draws
    tokens = prompt_tokens("rank", prompt.sections, taught.vocabulary)
    assert torch.allclose(share, plain_logits(taught, tokens)[:20].softmax(-1), atol=0.04)


def test_a_low_temperature_is_close_to_none(films: Planted, taught: CatalogModel) -> None:
    prompts = [ranking(films, n) for n in range(20)]
    cold = rank_candidates(taught, prompts, [Sampling(1e-5, n) for n in range(20)])
    best = rank_candidates(taught, prompts, [Sampling()] * 20)
    same = [one[0] == other[0] for one, other in zip(cold, best, strict=True)]
    # Logits that agree to three decimals are a tie, which a draw breaks in its own way.
    assert sum(same) >= 18


def test_texts_equal_plain_greedy_decoding(films: Planted, writer: CatalogModel) -> None:
    """Against the plainest decoding: no cache, no padding, one token at a time."""
    vocabulary = writer.vocabulary
    names = (*SPECIAL, *vocabulary.words)
    barred = [n for n, mark in enumerate(SPECIAL) if mark != "<end>"]
    # Questions and preferences are held to a form besides.
    for seed, name in enumerate(("critique", "diagnose", "hints")):
        prompt = writing(films, seed, name)
        tokens = prompt_tokens(prompt.task, prompt.sections, vocabulary)
        start = len(tokens)
        with torch.inference_mode():
            while len(tokens) < start + 64:
                logits = writer.network(input_ids=torch.tensor([tokens])).logits[0, -1]
                logits = logits[: vocabulary.first_handle]
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
        assert write_words(writer, [prompt], [Sampling()]) == [[names[t] for t in tokens[start:]]]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, seed=1)])
def test_an_untrained_network_writes_only_words_and_ends(
    films: Planted, sampling: Sampling
) -> None:
    (words,) = write_words(films.untrained(), [writing(films, 0, "hints")], [sampling])
    assert len(words) <= 64
    assert set(words) <= set(films.vocabulary.words)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_an_untrained_network_keeps_to_the_grammar(
    films: Planted, seed: int, temperature: float
) -> None:
    chat = CatalogChatModel(catalog_model=films.untrained(), temperature=temperature, seed=seed)
    session = films.session(seed)
    asked = factors(films)
    said = chat.invoke(text_prompt("preference", films, session)).text
    preferences = parse_preference(said, asked)
    # Every line can be read: none is of a factor that was not asked for, and none comes twice.
    assert len(preferences) == len(said.splitlines())
    assert preferences
    for stated in preferences:
        mentioned = [name for name in asked if f" {name} " in f" {stated.preference} "]
        assert mentioned in ([], [stated.factor])
    question = chat.invoke(text_prompt("question", films, session)).text
    assert parse_question(question) == question
    assert question.startswith("Do you prefer ")
    assert question.count(" or ") == 1
    assert question.endswith("?")


def test_a_preference_may_end_after_any_line_and_must_after_the_last(films: Planted) -> None:
    session, asked = films.session(0), factors(films)
    lengths = {
        len(parse_preference(chat.invoke(text_prompt("preference", films, session)).text, asked))
        for seed in range(12)
        for chat in [CatalogChatModel(catalog_model=films.untrained(), temperature=1.5, seed=seed)]
    }
    assert {len(asked)} < lengths <= {*range(1, len(asked) + 1)}

    ids = films.vocabulary.ids
    own = frozenset(ids[factor_token(factor)] for factor in asked)
    phrases = {
        factor: films.vocabulary.ids[one.token] for one in films.aspects for factor in [one.factor]
    }
    prompt = compact(films, text_prompt("preference", films, session))
    form = AnswerGrammar(
        prompt, films.vocabulary, frozenset(ids[one.token] for one in films.aspects)
    )
    written: list[int] = []
    # Before the first line it may not end: silence would be taken for a failed call.
    assert form.allowed(written) == own
    for number, factor in enumerate(asked, start=1):
        token = ids[factor_token(factor)]
        for next_token in (token, ids[":"], phrases[factor], ids[HINT_END]):
            allowed = form.allowed(written)
            assert allowed is not None
            assert next_token in allowed
            assert (ids[END] in allowed) == (number > 1 and next_token == token)
            written.append(next_token)
        own -= {token}
        assert form.allowed(written) == own | {ids[END]}
    assert not own


@pytest.mark.parametrize("numbered", [False, True])
def test_a_factor_with_one_aspect_is_stated_alone(numbered: bool) -> None:
    marked = Planted.of(
        Catalog(
            Item(
                item_id=str(n),
                title=f"Q{n}",
                attributes=({"kind": ("a",)} if n % 2 else {})
                | ({"made_in": 1950 + n} if numbered else {}),
            )
            for n in range(40)
        )
    )
    assert [one.phrase for one in marked.aspects if one.factor == "kind"] == ["kind a"]
    for seed in range(6):
        chat = CatalogChatModel(catalog_model=marked.untrained(), temperature=1.5, seed=seed)
        said = chat.invoke(text_prompt("preference", marked, marked.session(seed))).text
        assert [line for line in said.splitlines() if line.startswith("kind")] in ([], ["kind: a"])
        asked = chat.invoke(text_prompt("question", marked, marked.session(seed))).text
        assert "<" not in said + asked
        assert numbered or (said, asked) == ("kind: a", "Do you prefer kind a?")
