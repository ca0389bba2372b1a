"""Hyper-parameters of tuning a language model on preference pairs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AlignmentMethod = Literal["dpo", "rft"]
Tuned = Literal["all", "embedded", "lora"]
"""What is tuned: all parameters, those of the embedded model, or an adapter beside them."""

_LEARNING_RATES: dict[tuple[AlignmentMethod, Tuned], float] = {
    ("dpo", "all"): 1e-6,
    ("dpo", "lora"): 1e-5,
    ("dpo", "embedded"): 3e-4,
    ("rft", "all"): 1e-5,
    ("rft", "lora"): 1e-4,
    ("rft", "embedded"): 3e-4,
}


class AlignmentConfig(BaseModel):
    """Hyper-parameters of tuning a language model.

    Source: RLRF4Rec, Direct Preference Optimization on the pairs, rejection-sampling fine-tuning
    as the baseline beside it; DPO (arXiv 2305.18290), sections 4 and 6.
    Differs: from both in ``nll_weight``. On planted pairs without it, the chosen texts too lost
    probability (1 to 30 nats by step size) and the embedded model ranked worse; with it neither.

    Attributes:
        method: ``dpo``: the chosen text is made more probable than the rejected one, as measured
            against the model as it was. ``rft``, rejection-sampling fine-tuning: supervised on
            the chosen texts, each once, without the rejected ones: cheaper, and the baseline that
            DPO has to beat.
        beta: How closely the model is held to what it was, above 0. Larger: stays closer, learns
            less; smaller: follows the pairs further, noise and odd texts included. DPO section 4;
            RLRF4Rec: 0.1. Ignored by ``rft``.
        nll_weight: Weight of the negative log-likelihood of the chosen text a token, beside the
            loss of DPO, at least 0. Larger: the chosen texts themselves become more probable,
            not just more so than the rejected ones; 0: none, as in the DPO paper, where both may
            become far less probable and the model forgets how to write. Ignored by ``rft``.
        epochs: Passes over the pairs, at least 1. More: fits the pairs more closely, the wrong
            ones too; RLRF4Rec: 1 to 3.
        learning_rate: AdamW's highest step size, above 0; falls linearly to 0. Larger: learns
            faster and forgets more of what the model could do; ``None``: by method and by what is
            tuned, see ``rate``. DPO section 6: 1e-6 for all parameters.
        warm_up: Share of the steps in which the step size rises from 0, 0 to 1. More: steadier
            at the start; 0: none. DPO appendix B: 150 steps.
        batch_size: Pairs an optimiser step, at least 1. Larger: fewer and less noisy steps.
            DPO appendix B: 64.
        accumulation: Number of pieces in which the pairs of a step are computed; divides
            ``batch_size``. More: less memory, slower; the result is the same but for rounding.
        gradient_clip: Largest gradient norm of a step, above 0. Smaller: steadier, slower.
        weight_decay: Decoupled weight decay, at least 0. Larger: pulls what is tuned towards 0;
            not for the embedded model, whose items have to stay what they are.
        max_length: Most tokens of prompt and text together, at least 8; longer pairs are left out
            and counted, for half a text is not the one that was judged. Larger: more
            memory; smaller: fewer pairs.
        lora_rank: Rank of a LoRA adapter on all linear layers, at least 1; ``None`` tunes all
            parameters, as always for the embedded model. Larger: can change more, more memory.
            RLRF4Rec: 8 to 16.
        lora_scale: Factor of the adapter's product, ``alpha / rank``, above 0. Larger: each step
            changes more. Ignored without an adapter.
        eval_share: Share of users (of sessions, where no user is known) whose pairs are held out
            of training to evaluate on, 0 to 0.5. More: a surer evaluation, fewer pairs to learn
            from; 0: none.
        check_every: Optimiser steps between two evaluations, each of which also writes a
            checkpoint, at least 1. Smaller: finer choice, less to repeat after a stop, slower.
        keep_best: Whether the result is the state with the lowest loss on the held-out pairs, not
            the last one. Ignored where none are held out.
        precision: ``float32``, ``bfloat16`` (half the memory, faster on a GPU that has it,
            coarser), or ``auto``, the second on such a GPU and the first elsewhere.
        gradient_checkpointing: Whether inner results are computed twice rather than kept. On:
            less memory, about a fifth slower.
        seed: Seed of everything that is drawn, at least 0: the order of the pairs, an adapter's
            first values, the users held out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: AlignmentMethod = "dpo"
    beta: float = Field(default=0.1, gt=0)
    nll_weight: float = Field(default=0.2, ge=0)
    epochs: int = Field(default=2, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    warm_up: float = Field(default=0.1, ge=0, le=1)
    batch_size: int = Field(default=16, ge=1)
    accumulation: int = Field(default=1, ge=1)
    gradient_clip: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_length: int = Field(default=2048, ge=8)
    lora_rank: int | None = Field(default=None, ge=1)
    lora_scale: float = Field(default=2.0, gt=0)
    eval_share: float = Field(default=0.1, ge=0, le=0.5)
    check_every: int = Field(default=50, ge=1)
    keep_best: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _pieces_are_equal(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"accumulation {self.accumulation} does not divide batch_size {self.batch_size}"
            )
        return self

    def rate(self, tuned: Tuned) -> float:
        """Return the highest step size: the one that was set, else a default by method and part.

        An adapter takes steps ten times as large as all parameters do, fine-tuning larger ones than
        DPO, and the embedded model, a thousandth as large as others, far larger ones.
        """
        return self.learning_rate or _LEARNING_RATES[self.method, tuned]
