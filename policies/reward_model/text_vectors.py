"""The vectors of texts, each text encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from langchain_core.embeddings import Embeddings

from agentrec.policies.reward_model.augmented import Floats

MOST_KEPT = 20_000


class TextVectors:
    """Encodes texts, and keeps the vectors of the 20,000 that were used last.

    Args:
        embeddings: What encodes.
        dimension: How many numbers a vector has, at least 1.
    """

    def __init__(self, embeddings: Embeddings, dimension: int) -> None:
        self.dimension = dimension
        self._embeddings = embeddings
        # In the order of use, what was used last at the end.
        self._kept: dict[str, Floats] = {}

    async def of(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts, each distinct one encoded once.

        Args:
            texts: Any number; an empty text has a vector of zeros: nothing is said.

        Returns:
            Float32 ``[texts, dimension]``.

        Raises:
            ValueError: If what encodes gives vectors of another dimension.
        """
        distinct = dict.fromkeys(text for text in texts if text)
        # Taken before anything is awaited: whoever asks meanwhile may push it out.
        found = {text: self._kept[text] for text in distinct if text in self._kept}
        missing = [text for text in distinct if text not in found]
        if missing:
            made = await self._embeddings.aembed_documents(missing)
            found |= {text: self._vector(one) for text, one in zip(missing, made, strict=True)}
        self._keep({text: found[text] for text in distinct})
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            if text:
                vectors[row] = found[text]
        return vectors

    def _vector(self, numbers: Sequence[float]) -> Floats:
        if len(numbers) != self.dimension:
            raise ValueError(f"a text was encoded as {len(numbers)} numbers, not {self.dimension}")
        return np.asarray(numbers, dtype=np.float32)

    def _keep(self, used: Mapping[str, Floats]) -> None:
        """Keep what was used last."""
        for text, vector in used.items():
            self._kept.pop(text, None)
            self._kept[text] = vector
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
