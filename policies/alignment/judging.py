"""What tuning did to a model, on pairs that it was not tuned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from agentrec.errors import InputError
from agentrec.evaluation.intervals import Interval, bootstrap_intervals
from agentrec.policies.alignment.examples import encode_pairs
from agentrec.policies.alignment.models import OpenedModel, open_tuned
from agentrec.policies.alignment.scoring import lines_in_form, log_probabilities
from agentrec.preferences import PreferencePair

_MOST_TOKENS = 8192
_MOST_PROMPTS = 256


class Judgement(BaseModel):
    """A tuned model beside the one it came from.

    Means are over sessions, each the mean of its pairs, so that a session with many pairs counts
    once; intervals are a 95 % bootstrap over sessions.

    Attributes:
        pairs: How many pairs were looked at.
        sessions: How many sessions they are about.
        left_out: How many pairs could not be said in the models' tokens, by reason.
        accuracy: Share of pairs whose chosen text gained more log-probability than the rejected
            one; half a pair where both gained the same. 0.5 is chance.
        margin: Gain of the chosen text minus gain of the rejected one, times ``beta``: the
            reward margin of DPO.
        chosen_gain: Log-probability of the chosen text, tuned minus base, in nats.
        rejected_gain: The same of the rejected text.
        base_accuracy: Share of pairs whose chosen text the base itself holds more probable.
        in_form: Share of lines of freely sampled texts that have the form of a preference, of the
            base and of the tuned model; ``None`` for models whose form is not known.
    """

    model_config = ConfigDict(frozen=True)

    pairs: int
    sessions: int
    left_out: Mapping[str, int]
    accuracy: Interval
    margin: Interval
    chosen_gain: Interval
    rejected_gain: Interval
    base_accuracy: Interval
    in_form: tuple[float, float] | None = None


def judge(
    pairs: Sequence[PreferencePair],
    base: Path | str,
    tuned: Path | str,
    *,
    beta: float = 0.1,
    temperature: float = 1.0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Compare a tuned model with the one it came from.

    Args:
        pairs: Pairs that neither was tuned on.
        base: Folder of a model or ``hub:OWNER/NAME``.
        tuned: The same of the tuned one, or the folder of an adapter.
        beta: What the margin is multiplied by, above 0: as in training.
        temperature: Of the free sampling, above 0.
        seed: Of the bootstrap and of the sampling.
        on_progress: Called with how much is done and in all; raising in it stops.

    Raises:
        InputError: If a model cannot be used, both read pairs in other tokens, or no pair can be
            said in them.
    """
    first, second = open_tuned(base), open_tuned(tuned)
    most = min(first.most_tokens, second.most_tokens, _MOST_TOKENS)
    examples = encode_pairs(pairs, first.token_ids, most)
    if encode_pairs(pairs, second.token_ids, most) != examples:
        raise InputError("reads the pairs in other tokens than the first model", file=second.folder)
    if not examples.usable:
        told = ", ".join(f"{count} {why}" for why, count in examples.left_out.items())
        raise InputError(f"no pair can be used ({told or 'there is none'})", field="pairs")
    total = 2 * len(examples.usable)
    before = log_probabilities(first, examples.usable, lambda done, half: on_progress(done, total))
    after = log_probabilities(
        second, examples.usable, lambda done, half: on_progress(half + done, total)
    )
    gained = after - before
    margins = gained[:, 0] - gained[:, 1]
    columns = np.stack(
        [
            _above(margins),
            beta * margins,
            gained[:, 0],
            gained[:, 1],
            _above(before[:, 0] - before[:, 1]),
        ],
        axis=1,
    )
    sessions = [example.session_id for example in examples.usable]
    places = np.unique(sessions, return_inverse=True)[1]
    by_session = np.stack([columns[places == at].mean(axis=0) for at in range(places.max() + 1)])
    intervals = bootstrap_intervals(by_session, seed=seed)
    prompts = list(dict.fromkeys(example.prompt_ids for example in examples.usable))
    return Judgement(
        pairs=len(examples.usable),
        sessions=len(by_session),
        left_out=examples.left_out,
        accuracy=intervals[0],
        margin=intervals[1],
        chosen_gain=intervals[2],
        rejected_gain=intervals[3],
        base_accuracy=intervals[4],
        in_form=_in_form(first, second, prompts[:_MOST_PROMPTS], temperature, seed),
    )


def _in_form(
    first: OpenedModel,
    second: OpenedModel,
    prompts: Sequence[Sequence[int]],
    temperature: float,
    seed: int,
) -> tuple[float, float] | None:
    if first.embedded is None or second.embedded is None:
        return None
    return (
        lines_in_form(first, prompts, temperature, seed),
        lines_in_form(second, prompts, temperature, seed),
    )


def _above(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """1 above 0, 0 below, half at 0."""
    return (np.sign(values) + 1) / 2
