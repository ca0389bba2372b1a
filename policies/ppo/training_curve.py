"""What a training run tells about itself, one point at a time."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class CurvePoint(BaseModel):
    """The state of training after one iteration of one member.

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
