"""Rankers that need no language model: every result is shown beside them.

All of them learn from the training sessions only, if at all.
"""

from agentrec.evaluation.baselines.item_knn import ItemKNNRanker
from agentrec.evaluation.baselines.popularity import PopularityRanker
from agentrec.evaluation.baselines.ranker import RandomRanker, Ranker
from agentrec.evaluation.baselines.text_similarity import TextSimilarityRanker

__all__ = [
    "ItemKNNRanker",
    "PopularityRanker",
    "RandomRanker",
    "Ranker",
    "TextSimilarityRanker",
]
