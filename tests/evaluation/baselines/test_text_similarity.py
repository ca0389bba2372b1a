import numpy as np
import pytest

from agentrec.evaluation.baselines import TextSimilarityRanker
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session

TITLES = {
    "1": "Star Trek: The Motion Picture",
    "2": "Star Trek: The Wrath of Khan",
    "3": "Star Trek: First Contact",
    "4": "Muppet Treasure Island",
    "5": "Pulp Fiction",
    "6": "Four Weddings and a Funeral",
    "7": "Nothing",
}


def session(items: str, candidates: str) -> Session:
    return Session(session_id="s", items=tuple(items), candidates=tuple(candidates))


def test_titles_that_share_words_come_first() -> None:
    vectors = np.array(HashedWordEmbeddings(256).embed_documents(list(TITLES.values())))
    ranker = TextSimilarityRanker(list(TITLES), vectors)
    assert ranker.rank(session("12", "45637"))[0] == "3"


def test_computed_by_hand() -> None:
    # Profile of a then b with decay 1/2: b + a/2. Cosines: b .894, d .949, a .447, c -.894.
    vectors = np.array([[1.0, 0.0], [0.0, 7.0], [0.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    ranker = TextSimilarityRanker("abcde", vectors, decay=0.5)
    assert ranker.rank(session("ab", "abcde")) == ("d", "b", "a", "e", "c")
    assert ranker.rank(session("ba", "ab")) == ("a", "b")


def test_only_the_last_ten_items_count() -> None:
    vectors = np.eye(3)
    ranker = TextSimilarityRanker("abc", vectors)
    ties = {
        ranker.rank(session("a" + "c" * 10, "ab").model_copy(update={"session_id": str(number)}))
        for number in range(30)
    }
    assert len(ties) == 2


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="one vector an item"):
        TextSimilarityRanker("abc", np.eye(2))
    with pytest.raises(ValueError, match="finite"):
        TextSimilarityRanker("ab", np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="twice"):
        TextSimilarityRanker("aa", np.eye(2))
    with pytest.raises(ValueError, match="decay"):
        TextSimilarityRanker("ab", np.eye(2), decay=0.0)
    with pytest.raises(ValueError, match="'z' has no vector"):
        TextSimilarityRanker("ab", np.eye(2)).rank(session("z", "ab"))
