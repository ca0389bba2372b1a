"""The deterministic embeddings with which stores are tested."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.session_encoding.embeddings import HashedWordEmbeddings


@given(st.text(max_size=60))
def test_every_text_has_a_direction_of_length_one(text: str) -> None:
    vector = HashedWordEmbeddings(16).embed_query(text)
    assert len(vector) == 16
    assert np.linalg.norm(vector) == pytest.approx(1.0)


def test_texts_that_share_words_are_similar() -> None:
    old, older, other = HashedWordEmbeddings(256).embed_documents(
        ["Prefer old films", "prefer OLD films, please", "recommend recent games"]
    )
    assert np.dot(old, older) > 0.7
    assert abs(np.dot(old, other)) < 0.3


def test_texts_without_a_word_share_one_direction() -> None:
    embeddings = HashedWordEmbeddings()
    assert embeddings.embed_query("") == embeddings.embed_query(" … ")
    assert embeddings.embed_documents([]) == []


def test_another_process_gives_the_same_vectors() -> None:
    program = (
        "from agentrec.session_encoding.embeddings import HashedWordEmbeddings as E;"
        "print(E(8).embed_query('Prefer old films'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == str(HashedWordEmbeddings(8).embed_query("Prefer old films"))


def test_dimension_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="dimension"):
        HashedWordEmbeddings(0)
