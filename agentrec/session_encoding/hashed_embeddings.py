"""Text embeddings for tests: deterministic, instant, nothing to download."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings

_WORD = re.compile(r"\w+")
_PLACES_PER_WORD = 4


class HashedWordEmbeddings(Embeddings):
    """Signed hashed words: texts that share words are similar, others nearly orthogonal.

    Each word, however cased, adds +1 or -1 at a few places given by a hash that is the same in
    every process; the sum is scaled to length 1. Word order counts for nothing, and a text
    without a word gets one fixed direction.

    Args:
        dimension: Length of the vectors, at least 1. A smaller one makes unrelated words collide
            more often.

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
            for start in range(0, 8 * _PLACES_PER_WORD, 8):
                number = int.from_bytes(digest[start : start + 8], "big")
                total[(number >> 1) % self.dimension] += 1.0 if number & 1 else -1.0
        length = float(np.linalg.norm(total))
        if length == 0.0:
            total[0] = length = 1.0
        return total / length
