"""What a ranker by text alone shows of a session's candidates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SPREAD_NUMBERS = 4
BEST = 10
TEMPERATURE = 0.1
"""Of the softmax over cosines: at 1 they are all but alike, whatever the candidates."""


def candidate_spread(
    query: Floats, text: Floats, norms: Floats
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Sum up how candidates compare with a history.

    Args:
        query: Text vector of the history, ``[dimension]``.
        text: Text vectors of the candidates, at least one, ``[num_candidates, dimension]``.
        norms: Their lengths, ``[num_candidates]``.

    Returns:
        Mean and standard deviation of the cosines, the best one minus the tenth (the last one
        where there are fewer), and the entropy of a softmax over them as a share of the largest
        that so many can have, 0 to 1 (0 for a single one): shape ``[SPREAD_NUMBERS]``. And the
        rows of the ten best, best first, of equal ones the earlier row first.
    """
    scale = np.maximum(norms * np.linalg.norm(query), np.float32(1e-12))
    similarities = np.asarray((text @ query) / scale, dtype=np.float32)
    best = np.argsort(-similarities, kind="stable")[:BEST]
    gap = similarities[best[0]] - similarities[best[-1]]
    spread = [similarities.mean(), similarities.std(), gap, _entropy(similarities)]
    return np.array(spread, dtype=np.float32), best


def _entropy(similarities: Floats) -> float:
    if len(similarities) < 2:
        return 0.0
    logits = (similarities.astype(np.float64) - similarities.max()) / TEMPERATURE
    weights = np.exp(logits)
    total = weights.sum()
    # -sum p log p, with log p = logit - log(total).
    entropy = np.log(total) - (weights @ logits) / total
    return float(entropy / np.log(len(similarities)))
