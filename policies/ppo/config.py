"""Every hyper-parameter of the PPO hint policy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class PPOConfig(BaseModel):
    """Hyper-parameters of the network and of its training.

    The defaults were chosen on planted rewards as noisy as real ones (one answer an entry, 21
    options, 500 to 1,500 sessions), where fitting the luck of single answers is what hurts: more
    samples a session, a strong entropy bonus and fewer dimensions. With 1,000 training sessions
    of worlds not used for that choice (4 seeds), they gained 90 % of the optimum on held-out
    sessions, and ``PPOConfig.paper()``, the published values, 73 %.

    Source: Re2LLM (arXiv 2403.16427), Reinforcement Utilisation and its implementation details;
    PPO (arXiv 1707.06347), sections 3 and 5.
    Differs: from the paper in the defaults that ``paper()`` sets back, each said below.

    Attributes:
        iterations: Rollouts, at least 1. Each samples an action for every training session.
            More: fits the training rewards, noise included, more closely; fewer: stays nearer
            to the best single hint.
        epochs: Passes over one rollout, at least 1. More: faster learning a rollout and more
            clipping; fewer: closer to plain policy gradient. Paper: 10.
        minibatch_size: Sessions a gradient step, at least 1. Smaller: more and noisier steps,
            slower; larger: quicker wall-clock. Paper: 32.
        samples_per_session: Actions sampled for each session in a rollout, at least 1. More: less
            sampling noise for more time. Paper: 1.
        clip: Half-width of the trust region of the probability ratio, 0 to 1. Larger: bolder
            policy steps; smaller: steadier and slower ones. PPO section 3. Paper: 0.05.
        learning_rate: Adam's first step size, above 0; falls linearly to 0. Larger: faster and
            less stable. Paper: 3e-4.
        entropy_weight: Bonus on the policy's entropy in nats, at least 0. Larger: softer policy
            that follows rare lucky rewards less; too large: indifference; 0: may settle
            early. PPO section 5. Paper: 0.01.
        value_weight: Weight of the critic's squared error, at least 0. Actor and critic share no
            parameter, so it only sets their shares under the gradient clip. PPO section 5.
        gradient_clip: Largest gradient norm of a step, above 0. Smaller: steadier, slower.
            Paper: 0.5.
        normalise_advantages: Whether a rollout's advantages are scaled to mean 0 and deviation 1.
            On: the step size does not depend on the rewards' scale; off: small rewards learn
            slowly, and the entropy bonus weighs more.
        hidden_sizes: Widths of the hidden tanh layers of actor and of critic. Wider or deeper:
            finer decisions, more memorised noise; empty: a linear policy. Paper: (64, 64).
        latent_size: Width in which the scoring actor compares sessions with hints, instead of its
            last hidden layer, at least 1. Larger: finer, more memorised noise. The
            categorical actor has none.
        weight_decay: Decoupled weight decay (AdamW), at least 0. Larger: smoother policies, nearer
            to a single hint; 0: none, as in the paper.
        max_components: Principal components of the training states to keep, at least 1, or
            ``None`` for the states as they are. Fewer: less to memorise, and less to see.
            Paper: none.
        hint_components: Principal components of the trained hints' text vectors that the scoring
            actor sees, at least 1. More: tells similar hints apart; fewer: what is learnt of one
            hint carries over to similar ones, new ones included.
        unmeasured: How options without a measured reward count. ``predict``: by a ridge regression
            on the measured ones; ``leave_out``: they cannot be chosen in training, so nothing is
            learnt of them. Ignored where all is measured.
        members: Networks trained from different seeds, their probabilities averaged, at least
            1. More: less variance between seeds, time in proportion. Paper: 1.
        validate_every: Iterations between evaluations on the validation sessions, at least 1.
            Smaller: finer selection, more chances to select luck.
        selection_window: Evaluations whose mean decides which iteration is kept, at least 1.
            Larger: less luck in the selection, coarser timing; 1: the single best one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(default=40, ge=1)
    epochs: int = Field(default=4, ge=1)
    minibatch_size: int = Field(default=1024, ge=1)
    samples_per_session: int = Field(default=8, ge=1)
    clip: float = Field(default=0.05, gt=0, lt=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    entropy_weight: float = Field(default=0.4, ge=0)
    value_weight: float = Field(default=0.5, ge=0)
    gradient_clip: float = Field(default=0.5, gt=0)
    normalise_advantages: bool = True
    hidden_sizes: tuple[int, ...] = (64, 64)
    latent_size: int = Field(default=32, ge=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_components: int | None = Field(default=32, ge=1)
    hint_components: int = Field(default=20, ge=1)
    unmeasured: Literal["predict", "leave_out"] = "predict"
    members: int = Field(default=1, ge=1)
    validate_every: int = Field(default=1, ge=1)
    selection_window: int = Field(default=10, ge=1)

    @field_validator("hidden_sizes")
    @classmethod
    def _positive_widths(cls, hidden_sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in hidden_sizes):
            raise ValueError("a hidden layer needs at least 1 unit")
        return hidden_sizes

    @classmethod
    def paper(cls) -> PPOConfig:
        """The published values; the number of iterations, which is not published, is ours."""
        return cls(
            iterations=30,
            epochs=10,
            minibatch_size=32,
            samples_per_session=1,
            entropy_weight=0.01,
            max_components=None,
            selection_window=1,
        )


class CurvePoint(BaseModel):
    """The learning curve of one member after one iteration.

    Attributes:
        member: 0-based number of the network.
        iteration: 0-based number of the iteration.
        sampled_gain: Mean reward of the rollout, -1 to 1.
        train_gain: Mean measured gain of the greedy policy on the training sessions, -1 to 1. It
            counts memorised noise as a success: never a result.
        entropy: Mean entropy of the policy on the training sessions, in nats, 0 to
            ``log(1 + num_hints)``.
        valid_gain: Mean measured gain of the greedy policy on the validation sessions, or
            ``None`` where they were not given or not looked at in this iteration.
        selected: Whether this iteration's network is the one the member ended up with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: int
    iteration: int
    sampled_gain: float
    train_gain: float
    entropy: float
    valid_gain: float | None = None
    selected: bool = False
