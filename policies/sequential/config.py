"""Every hyper-parameter of a sequential recommender."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

BackboneKind = Literal["sasrec", "gru4rec"]

Repeats = Literal["each", "once"]


class BackboneConfig(BaseModel):
    """Hyper-parameters of a backbone and of its training.

    The defaults were chosen on validation sessions of MovieLens-100K (popularity negatives, mean
    NDCG@10 of 4 draws of candidates and 2 seeds; one with 0.02 of luck in it). SASRec and GRU4Rec
    had 0.363 and 0.358; with dropout 0.2, 0.346 and 0.330; with plain cross-entropy
    (``popularity_offset`` 0) beside that, 0.328 and 0.316; with one layer, 0.352 and 0.350.

    Source: SASRec (arXiv 1808.09781), section IV; GRU4Rec (arXiv 1511.06939), section 4.

    Attributes:
        dim: Length of item and user vectors, at least 1. More: finer distinctions, more to
            memorise; time grows in proportion.
        layers: Attention blocks or recurrent layers, at least 1. More: longer chains of items
            count; slower, and harder to train on few sessions.
        heads: Attention heads, at least 1, a divisor of ``dim``; SASRec only. More: several
            positions of the history count in different ways, each more coarsely.
        dropout: Share of values set to 0 in training, 0 to 1 (exclusive). More: less is
            memorised, more epochs are needed; less: the opposite.
        max_length: Items of a history that are read at most, the most recent ones, at least 1.
            More: older items can matter; time and memory grow with it. Sessions made by
            ``agentrec.data`` have 10.
        epochs: Passes over the training sessions at most, at least 1. ``patience`` usually ends
            training sooner; too few stop it before it is done.
        batch_size: Sequences a step, at least 1. Larger: fewer, steadier steps; a step's memory
            grows with batch, length and catalogue together.
        learning_rate: AdamW's step size, above 0. Larger: fewer epochs, and less stable.
        weight_decay: AdamW's pull of all parameters to 0, at least 0. More: less is
            memorised, and items with few occurrences stay alike.
        gradient_clip: Longest gradient of a step, above 0. Smaller: no step is ruled by a few
            sessions; too small: slow.
        patience: Epochs without improvement after which training ends, at least 1. More: less is
            missed behind a plateau, for more time.
        selection_window: Evaluations on validation sessions whose mean scores an epoch, at least
            1. More: less luck in the choice of the epoch, coarser timing.
        popularity_offset: Power of an item's count in training that is taken for granted, at
            least 0. Scores then say how well an item fits beyond its fame. 0: scores are
            log-probabilities, right for candidates that were drawn evenly; 0.75: right for
            candidates drawn in proportion to that power of their counts, as ``agentrec.data``
            does; 1: fame counts nothing.
        repeats: Whether steps that overlapping sessions share are learnt ``once`` or ``each``
            time. ``once``: a user with many growing sessions counts no more than others, and
            training is quicker; ``each``: what many users did in the same order counts as often
            as it was done. Sessions made by ``agentrec.data`` do not overlap. Where those of
            MovieLens-100K were made to, ``each`` cost 0.01 to 0.02 of NDCG@10 on validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1)
    epochs: int = Field(default=200, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    patience: int = Field(default=10, ge=1)
    selection_window: int = Field(default=3, ge=1)
    popularity_offset: float = Field(default=0.75, ge=0)
    repeats: Repeats = "each"

    @model_validator(mode="after")
    def _heads_share_the_vector(self) -> BackboneConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by {self.heads} heads")
        return self
