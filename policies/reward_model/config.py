"""Every hyper-parameter of the reward model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

AdapterKind = Literal["mlp", "mixture"]


class RewardModelConfig(BaseModel):
    """Hyper-parameters of the knowledge adapter and of its training.

    Source: RLRF4Rec, knowledge-augmented recommender; KAR (arXiv 2306.10933), section 4.3: hybrid
    experts between language and recommender.

    Attributes:
        adapter: ``mlp``: one small network for all texts. ``mixture``: several experts, weighed
            by the text: finer, with more to memorise.
        experts: How many experts a mixture has, at least 2.
        hidden: Width of the adapter's hidden layer, at least 1. Wider: finer, more memorised
            noise.
        text_components: Principal components of the training texts' vectors to keep, at least 1;
            ``None`` for the vectors as they are. Fewer: less to memorise, and less to see.
        item_components: The same of the items' features.
        shown_weight: Weight in training of an item of the part that a text is about; one that came
            after it has weight 1. At least 0. More: surer what words mean of items; 0: only what
            came after counts, which is little.
        dropout: Share of the adapter's inputs set to 0 in training, 0 to 1 (exclusive).
        learning_rate: AdamW's step size, above 0.
        weight_decay: AdamW's pull of all parameters to 0, at least 0. More: texts matter less
            unless they say the same of many sessions.
        batch_size: Steps of users at a time, at least 1.
        epochs: Passes over the training sessions at most, at least 1.
        patience: Epochs without a better one after which training ends, at least 1.
        cutoff: Length of the ranking that counts in a reward, at least 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter: AdapterKind = "mlp"
    experts: int = Field(default=4, ge=2)
    hidden: int = Field(default=64, ge=1)
    text_components: int | None = Field(default=None, ge=1)
    item_components: int | None = Field(default=None, ge=1)
    shown_weight: float = Field(default=1.0, ge=0)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    batch_size: int = Field(default=256, ge=1)
    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=10, ge=1)
    cutoff: int = Field(default=10, ge=1)
