"""What a policy chose for one session, among what, and why: as data and as a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentrec.app.reports.tables import GAIN, Column, Report, Table
from agentrec.evaluation.metrics import CUTOFF

_MAX_OPTIONS = 10
_MAX_ITEMS = 5
_MAX_NEIGHBOURS = 5


@dataclass(frozen=True)
class ExplainedOption:
    """One thing that the policy could have chosen.

    Attributes:
        hint_id: The hint, ``None`` for no hint.
        text: Its text; ignored for no hint.
        score: The policy's score, higher is better; may be ``-inf``.
        probability: The policy's probability of choosing it, 0 to 1; ``None`` if it has none.
        similarity: Cosine of the hint's vector and the session's query, -1 to 1; ``None`` for no
            hint.
        predicted_gain: Predicted gain in NDCG@10 over no hint, -1 to 1; ``None`` where the policy
            predicts none.
        measured_gain: The same, measured on this session; ``None`` if not measured.
        chosen: Whether the policy chose it.
    """

    hint_id: str | None
    text: str
    score: float
    probability: float | None
    similarity: float | None
    predicted_gain: float | None
    measured_gain: float | None
    chosen: bool


@dataclass(frozen=True)
class ExplainedChoice:
    """A policy's choice for one session, and what it rests on.

    Attributes:
        session_id: The session.
        history: Titles of the user's items, most recent last.
        policy: Name or kind of the policy.
        options: Everything on offer, best score first; exactly one is chosen.
        log_probability: Natural log of the probability with which the choice was made, at most 0.
        value: Gain in NDCG@10 over no hint that the policy expects, -1 to 1; 0 if it expects none.
        state: Per part of the state, its distance from an average training session in standard
            deviations, at least 0; may be empty.
        deciding: Per part of the state, how much ``margin`` falls if the part is replaced by the
            average of training sessions: above 0 it speaks for the choice. May be empty.
        neighbours: Similar training sessions, most similar first: id, similarity (-1 to 1), and
            the gain measured there with the chosen hint; may be empty.
        target: Title of the next item; ``None`` if not known.
        rank_without: Its rank without a hint, at least 1; 0 if it was not among the first 10,
            ``None`` if not measured.
        rank_with: The same with the chosen hint.
    """

    session_id: str
    history: tuple[str, ...]
    policy: str
    options: tuple[ExplainedOption, ...]
    log_probability: float
    value: float
    state: tuple[tuple[str, float], ...]
    deciding: tuple[tuple[str, float], ...]
    neighbours: tuple[tuple[str, float, float], ...]
    target: str | None
    rank_without: int | None
    rank_with: int | None

    @property
    def chosen(self) -> ExplainedOption:
        """The option that the policy chose."""
        return next(one for one in self.options if one.chosen)

    @property
    def margin(self) -> float | None:
        """The chosen score minus the best other one; ``None`` without both, or if not finite."""
        others = [one.score for one in self.options if not one.chosen]
        margin = self.chosen.score - max(others) if others else math.nan
        return margin if math.isfinite(margin) else None


def choice_report(choice: ExplainedChoice) -> Report:
    """Report what was chosen for whom, among what, what decided, and what is known of it."""
    yield _sentence(choice)
    if choice.margin is not None and choice.margin < 0:
        yield "Another option has a better score: the policy chose at random."
    yield _history(choice.history) if choice.history else "No history."
    yield _options(choice)
    if choice.state or choice.deciding:
        yield _state(choice)
    if choice.neighbours:
        yield _neighbours(choice)
    yield from _outcome(choice)


def _sentence(choice: ExplainedChoice) -> str:
    chosen = choice.chosen
    probability, gain = chosen.probability, chosen.predicted_gain
    # A certain choice needs no probability, and the value of a policy that expects nothing is 0.
    if probability is None and choice.log_probability < 0:
        probability = math.exp(choice.log_probability)
    known = [] if probability is None else [f"probability {probability:.2f}"]
    if gain is not None or choice.value:
        known.append(f"expected gain {choice.value if gain is None else gain:{GAIN}}")
    given = "no hint" if chosen.hint_id is None else f'the hint "{chosen.text}"'
    rest = f" ({', '.join(known)})" if known else ""
    return f"For session {choice.session_id}, {choice.policy} gives {given}{rest}."


def _history(history: Sequence[str]) -> Table:
    last = history[-_MAX_ITEMS:]
    of_all = f", the last {len(last)} of {len(history)}" if len(last) < len(history) else ""
    return Table(
        f"Its history{of_all}, most recent last", (Column(""),), tuple((title,) for title in last)
    )


def _options(choice: ExplainedChoice) -> Table:
    options = choice.options
    chosen = options.index(choice.chosen)
    shown = list(range(min(len(options), _MAX_OPTIONS)))
    if chosen not in shown:
        shown[-1] = chosen
    return Table(
        "What was on offer, best score first; gains in NDCG@10 over no hint",
        (
            Column("", ">"),
            Column("score", ".3f"),
            Column("prob", "z.2f"),
            Column("cosine", "z.2f"),
            Column("predicted\ngain", GAIN),
            Column("measured\ngain", GAIN),
            # The sentence above shows the chosen hint in full.
            Column("hint", max_length=80),
        ),
        tuple(
            (
                f"> {index + 1}" if index == chosen else f"{index + 1}",
                one.score,
                one.probability,
                one.similarity,
                one.predicted_gain,
                one.measured_gain,
                "(no hint)" if one.hint_id is None else one.text,
            )
            for index in shown
            for one in [options[index]]
        ),
        _omitted(len(options) - len(shown)),
    )


def _state(choice: ExplainedChoice) -> Table:
    falls, unusual, margin = dict(choice.deciding), dict(choice.state), choice.margin
    # What speaks most for the choice first, then parts that were not replaced.
    names = sorted(falls, key=lambda name: -falls[name])
    names += [name for name in unusual if name not in falls]

    def label(name: str) -> str:
        # If the margin falls by more than itself, the runner-up wins.
        turns = margin is not None and falls.get(name, -math.inf) > margin >= 0
        return f"{name} (without it, the choice would be another)" if turns else name

    known = "" if margin is None else f": the margin over the best other option is {margin:.3f}"
    notes = (
        "falls by: change of the margin if the part is that of an average training session.",
        "unusual: standard deviations from the average training session.",
    )
    return Table(
        f"What decided{known}" if falls else "How unusual the session is",
        (Column("falls by", GAIN), Column("unusual", ".1f"), Column("part of the state")),
        tuple((falls.get(name), unusual.get(name), label(name)) for name in names),
        tuple(note for note, values in zip(notes, (falls, unusual), strict=True) if values),
    )


def _neighbours(choice: ExplainedChoice) -> Table:
    gains = [gain for *_, gain in choice.neighbours]
    shown = choice.neighbours[:_MAX_NEIGHBOURS]
    return Table(
        "The same choice on similar training sessions",
        (Column("cosine", "z.2f"), Column("gain", GAIN), Column("session", max_length=60)),
        tuple((similarity, gain, session_id) for session_id, similarity, gain in shown),
        (
            *_omitted(len(gains) - len(shown)),
            f"Mean gain of all {len(gains)}: {sum(gains) / len(gains):{GAIN}}.",
        ),
    )


def _omitted(count: int) -> tuple[str, ...]:
    return (f"... and {count} more.",) if count else ()


def _outcome(choice: ExplainedChoice) -> Iterator[str]:
    """What is known to have come of it on this very session."""
    hinted = choice.chosen.hint_id is not None
    ranks = {"without a hint": choice.rank_without, "with it": choice.rank_with if hinted else None}
    found = ", ".join(
        f"{f'at rank {rank}' if rank else f'not among the first {CUTOFF}'} {when}"
        for when, rank in ranks.items()
        if rank is not None
    )
    if choice.target is not None:
        yield f'The next item: "{choice.target}".'
    if found:
        yield f"In the answer, the next item was {found}."
    if hinted and choice.chosen.measured_gain is not None:
        gain = f"{choice.chosen.measured_gain:{GAIN}}"
        yield f"Measured on this session, the hint changed NDCG@10 by {gain}."
