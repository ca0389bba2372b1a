from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from embedded_model.planted import Planted, rank_prompt, text_prompt
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, BaseMessage

from agentrec.embedded_model.chat_model import CatalogChatModel, StopSequences
from agentrec.embedded_model.folder import CatalogModel

KINDS = ("ranking", "text", "anything else")


@pytest.fixture
def chat(writer: CatalogModel) -> CatalogChatModel:
    return CatalogChatModel(catalog_model=writer)


def messages(films: Planted, kind: str) -> list[BaseMessage]:
    session = films.session(3)
    if kind == "ranking":
        return rank_prompt(films, session)
    if kind == "text":
        return text_prompt("hints", films, session)
    return text_prompt("hints", films, session)[:1]


def joined(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


async def gathered(chunks: AsyncIterator[AIMessageChunk]) -> list[AIMessageChunk]:
    return [chunk async for chunk in chunks]


def taken(chunks: Iterator[AIMessageChunk]) -> list[AIMessageChunk]:
    return list(chunks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [None, ["\n2."], ["e"], ["absent"], [""]])
async def test_the_pieces_make_up_the_answer_and_its_usage(
    films: Planted, chat: CatalogChatModel, kind: str, stop: list[str] | None
) -> None:
    asked = messages(films, kind)
    whole = chat.invoke(asked, stop=stop)
    for chunks in (
        taken(chat.stream(asked, stop=stop)),
        await gathered(chat.astream(asked, stop=stop)),
        taken(chat.bind(stop=stop).stream(asked)),
    ):
        found = joined(chunks)
        assert found.text == whole.text
        assert found.usage_metadata == whole.usage_metadata
        assert found.response_metadata["model_name"] == "trained"
        assert [c.usage_metadata is not None for c in chunks] == [False] * (len(chunks) - 1) + [
            True
        ]
        if stop is None:
            assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert (await chat.ainvoke(asked, stop=stop)).text == whole.text


def test_a_ranking_comes_line_by_line(films: Planted, chat: CatalogChatModel) -> None:
    texts = [chunk.text for chunk in chat.stream(messages(films, "ranking")) if chunk.text]
    assert len(texts) == 10
    assert [text.lstrip("\n").split(".")[0] for text in texts] == [str(n) for n in range(1, 11)]


def test_a_call_overrides_the_models_stop_sequences(films: Planted, chat: CatalogChatModel) -> None:
    asked = messages(films, "ranking")
    whole = chat.invoke(asked).text
    own = CatalogChatModel(catalog_model=chat.catalog_model, stop=["\n2."])
    assert own.invoke(asked).text == whole.split("\n2.")[0]
    assert own.invoke(asked, stop=["\n3."]).text == whole.split("\n3.")[0]
    assert own.invoke(asked, stop=[]).text == whole


def test_stop_sequences_cut_the_answer(films: Planted, chat: CatalogChatModel) -> None:
    messages = rank_prompt(films, films.session(0))
    whole = chat.invoke(messages).text
    assert chat.invoke(messages, stop=["\n2."]).text == whole.split("\n2.")[0]
    assert chat.invoke(messages, stop=["\n4.", "\n3.", "absent"]).text == whole.split("\n3.")[0]
    assert chat.invoke(messages, stop=["", "absent"]).text == whole
    cut = chat.invoke(messages, stop=["\n2."])
    assert cut.usage_metadata is not None
    assert cut.usage_metadata["output_tokens"] == len(cut.text.split())


async def test_an_error_reaches_the_consumer_of_a_stream(
    films: Planted, chat: CatalogChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> list[list[int]]:
        raise MemoryError("none left")

    monkeypatch.setattr("agentrec.embedded_model.chat_model.rank_candidates", fail)
    asked = messages(films, "ranking")
    with pytest.raises(MemoryError, match="none left"):
        taken(chat.stream(asked))
    with pytest.raises(MemoryError, match="none left"):
        await gathered(chat.astream(asked))


TEXTS = st.text("ab\n", max_size=30)
SEQUENCES = st.lists(st.text("ab\n", max_size=4), max_size=3)


def passed(pieces: Sequence[str], sequences: Sequence[str]) -> list[str]:
    stopping = StopSequences(sequences)
    return [*(stopping.feed(piece) for piece in pieces), stopping.flush()]


def cut(text: str, sequences: Sequence[str]) -> str:
    """A text up to the sequence that is complete first, the plainest way."""
    ends = [(text.find(s) + len(s), text.find(s)) for s in sequences if s and s in text]
    return text[: min(ends)[1]] if ends else text


@given(pieces=st.lists(TEXTS, max_size=8), sequences=SEQUENCES)
def test_the_cut_does_not_depend_on_the_pieces(pieces: list[str], sequences: list[str]) -> None:
    assert "".join(passed(pieces, sequences)) == cut("".join(pieces), sequences)


@given(pieces=st.lists(TEXTS, max_size=8), sequences=SEQUENCES)
def test_only_a_possible_beginning_of_a_sequence_is_held_back(
    pieces: list[str], sequences: list[str]
) -> None:
    stopping, longest = StopSequences(sequences), max(map(len, sequences), default=0)
    so_far = said = ""
    for piece in pieces:
        so_far += piece
        said += stopping.feed(piece)
        wanted = cut(so_far, sequences)
        assert wanted.startswith(said)
        assert len(wanted) - len(said) <= max(0, longest - 1)


def test_without_sequences_every_piece_is_passed_on_at_once() -> None:
    assert passed(["a", "", "bc"], []) == passed(["a", "", "bc"], [""]) == ["a", "", "bc", ""]


def test_a_sequence_that_is_split_over_pieces_is_found() -> None:
    assert passed(["one, t", "w", "o, three"], ["two"]) == ["one,", " ", "", ""]
    assert "".join(passed(["ab", "ab", "c"], ["abc"])) == "ab"


def test_nothing_after_the_end_is_returned() -> None:
    stopping = StopSequences(["."])
    assert [stopping.feed(p) for p in ("a. b", "c", ".")] == ["a", "", ""]
    assert stopping.flush() == stopping.flush() == ""
