"""What a call journal keeps."""

from __future__ import annotations

from dataclasses import dataclass

from agentrec.errors import FailureKind


@dataclass(frozen=True)
class JournaledAnswer:
    """One answer of a model.

    Attributes:
        text: The answer.
        input_tokens: Tokens read for it, 0 if the model does not say.
        output_tokens: Tokens written, 0 if the model does not say.
        model: The model's name at the gateway; empty in journals from before it was kept.
        attempt: Number of the attempt that brought it, from 1.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    attempt: int = 1


@dataclass(frozen=True)
class JournaledFailure:
    """One call that failed; it stands in nobody's way.

    Attributes:
        key: Content-derived key of the request.
        node: What the call was for.
        kind: What kind of failure it was.
        problem: One line without secrets.
        time: When, in seconds since 1970.
        attempt: Number of the attempt, from 1.
        model: The model's name at the gateway.
        input_tokens: Tokens read all the same, where the model answered and said so.
        output_tokens: Tokens written all the same.
    """

    key: str
    node: str
    kind: FailureKind
    problem: str
    time: float
    attempt: int
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
