"""What a person reads about what a policy chose for one session, and why, within 80 columns.

Titles, hints, ids and names are foreign: they are cleaned and printed as ``Text``, never as markup.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from agentrec.app.reports.run_report import narrow_table
from agentrec.catalog import MAX_TITLE_LENGTH, clean_text
from agentrec.evaluation.metrics import CUTOFF
from agentrec.hints import MAX_HINT_LENGTH

_MOST_OPTIONS = 10
_MOST_ITEMS = 5
_MOST_NEIGHBOURS = 5
_LONGEST_ID = 60
# The chosen hint stands whole in the sentence above the table.
_LONGEST_IN_TABLE = 80
_MEANINGS = {
    "alike": "cosine with this session",
    "expected": "predicted gain in NDCG@10 over no hint",
    "measured": "the gain on this session",
    "falls by": "how much smaller the margin is with the average of training sessions in its place",
    "unusual": "standard deviations from the average training session",
}


@dataclass(frozen=True)
class ExplainedOption:
    """One thing that the policy could have done.

    Attributes:
        hint_id: The hint, ``None`` for no hint.
        text: Its text; not looked at for no hint.
        score: What the policy thinks of it, the higher the better; may be ``-inf``.
        probability: With which the policy holds it to be the best, 0 to 1; ``None`` where the
            policy knows none.
        similarity: Cosine of the hint's vector and the session's query, -1 to 1; ``None`` for no
            hint.
        predicted_gain: NDCG@10 over no hint that the policy predicts, -1 to 1; ``None`` where it
            predicts none.
        measured_gain: The same, measured on this session; ``None`` where nobody did.
        chosen: Whether it is what the policy chose.

    Raises:
        ValueError: If a number is not finite; of the score, if it is neither that nor ``-inf``.
    """

    hint_id: str | None
    text: str
    score: float
    probability: float | None
    similarity: float | None
    predicted_gain: float | None
    measured_gain: float | None
    chosen: bool

    def __post_init__(self) -> None:
        for name in ("probability", "similarity", "predicted_gain", "measured_gain"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; what is not known is None")
        if math.isnan(self.score) or self.score == math.inf:
            raise ValueError(f"score is {self.score}")


@dataclass(frozen=True)
class ExplainedChoice:
    """A policy's choice for one session with what it rests on.

    Attributes:
        session_id: The session.
        history: Titles of what the user had, most recent last.
        policy: Name or kind of the policy.
        options: All that was on offer, best score first; exactly one is chosen.
        log_probability: Natural log of the probability with which the choice was made, at most 0.
        value: NDCG@10 over no hint that the policy expects of the session, -1 to 1; 0 of policies
            that expect nothing.
        state: By name, how far each part of the state lies from that of an average training
            session, in standard deviations, at least 0; may be empty.
        deciding: By name of a part, how much the margin of the chosen option's score over the
            best other one falls if that part is replaced by the average of training sessions.
            Above 0 it speaks for the choice, below 0 against it. May be empty.
        neighbours: Training sessions like this one, most alike first: id, similarity (-1 to 1),
            and the gain over no hint measured there with the chosen hint; may be empty.
        target: Title of what came next; ``None`` where it is not known.
        rank_without: Its place in the answer without a hint, at least 1; 0 if it was not among
            the first 10, ``None`` if nobody measured it.
        rank_with: The same with the chosen hint.

    Raises:
        ValueError: If not exactly one option is chosen, a number is not finite, or a rank is
            below 0.
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

    def __post_init__(self) -> None:
        if (chosen := sum(one.chosen for one in self.options)) != 1:
            raise ValueError(f"exactly one option is chosen, not {chosen}")
        parts = (value for _, value in (*self.state, *self.deciding))
        alike = (value for _, *values in self.neighbours for value in values)
        if not all(map(math.isfinite, (self.log_probability, self.value, *parts, *alike))):
            raise ValueError("a number of the choice is not finite")
        if any(rank is not None and rank < 0 for rank in (self.rank_without, self.rank_with)):
            raise ValueError("a rank is at least 1, 0 for absent, or None")

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


def choice_json(choice: ExplainedChoice) -> str:
    """The choice as one JSON object in ASCII alone, a score of ``-inf`` being ``null``."""
    told = dataclasses.asdict(choice)
    for option in told["options"]:
        if option["score"] == -math.inf:
            option["score"] = None
    return json.dumps(told, allow_nan=False)


def print_choice(choice: ExplainedChoice, console: Console) -> None:
    """Print what was chosen, for whom, among what, what decided, and what is known of it."""
    _say(_sentence(choice), console)
    if choice.margin is not None and choice.margin < 0:
        _say("Another option has a better score: the policy chose at random.", console)
    last, count = choice.history[-_MOST_ITEMS:], len(choice.history)
    of_all = f", the last {len(last)} of {count}" if len(last) < count else ""
    _say(f"\nIts history{of_all}, most recent last:" if last else "\nNo history.", console)
    for title in last:
        text = Text(clean_text(title, MAX_TITLE_LENGTH))
        console.print(Padding(text, (0, 0, 0, 2), expand=False))
    _print_options(choice, console)
    if choice.state or choice.deciding:
        _print_parts(choice, console)
    if measured := _measured(choice):
        _say("\n" + "\n".join(measured), console)
    if choice.neighbours:
        _print_neighbours(choice, console)


def _sentence(choice: ExplainedChoice) -> str:
    chosen = choice.chosen
    probability, gain = chosen.probability, chosen.predicted_gain
    # What is certain is not worth a word, nor is the value of a policy that expects nothing.
    if probability is None and choice.log_probability < 0:
        probability = math.exp(choice.log_probability)
    if gain is None and choice.value:
        gain = choice.value
    known = [] if probability is None else [f"probability {probability:.2f}"]
    known += [] if gain is None else [f"expected gain {_signed(gain)}"]
    session, policy = (clean_text(name, _LONGEST_ID) for name in (choice.session_id, choice.policy))
    given = "no hint"
    if chosen.hint_id is not None:
        given = f'the hint "{clean_text(chosen.text, MAX_HINT_LENGTH)}"'
    rest = f" ({', '.join(known)})" if known else ""
    return f"For session {session}, {policy} gives {given}{rest}."


def _print_options(choice: ExplainedChoice, console: Console) -> None:
    options = choice.options
    places = list(range(min(len(options), _MOST_OPTIONS)))
    chosen = options.index(choice.chosen)
    if chosen not in places:
        places[-1] = chosen
    shown = [options[place] for place in places]
    columns = {
        "": [f"{'>' if place == chosen else ' '} {place + 1}" for place in places],
        "score": [f"{one.score:.3f}" for one in shown],
        "prob": [_unsigned(one.probability) for one in shown],
        "alike": [_unsigned(one.similarity) for one in shown],
        "expected": [_signed(one.predicted_gain) for one in shown],
        "measured": [_signed(one.measured_gain) for one in shown],
        "hint": [
            "(no hint)" if one.hint_id is None else clean_text(one.text, _LONGEST_IN_TABLE)
            for one in shown
        ],
    }
    _print_table("What was on offer, best score first", columns, console, of=len(options))


def _print_parts(choice: ExplainedChoice, console: Console) -> None:
    falls, unusual, margin = dict(choice.deciding), dict(choice.state), choice.margin
    # What speaks most for the choice first, then what nobody tried to replace.
    parts = sorted(falls, key=lambda name: -falls[name])
    parts += [name for name in unusual if name not in falls]
    texts = []
    for name in parts:
        # More than the whole margin: then the runner-up is better.
        turns = margin is not None and falls.get(name, -math.inf) > margin >= 0
        other = " (without it, the choice would be another)" if turns else ""
        texts.append(clean_text(name, _LONGEST_ID) + other)
    columns = {
        "falls by": [_signed(falls.get(name)) for name in parts],
        "unusual": [f"{unusual[name]:.1f}" if name in unusual else "" for name in parts],
        "part of the state": texts,
    }
    known = "" if margin is None else f": the margin over the best other option is {margin:.3f}"
    title = f"What decided{known}" if falls else "How unusual the session is"
    _print_table(title, columns, console)


def _measured(choice: ExplainedChoice) -> list[str]:
    """What is known to have come of it on this very session."""
    lines = []
    hinted = choice.chosen.hint_id is not None
    ranks = {"without a hint": choice.rank_without, "with it": choice.rank_with if hinted else None}
    told = ", ".join(
        f"{f'at place {rank}' if rank else f'not among the first {CUTOFF}'} {when}"
        for when, rank in ranks.items()
        if rank is not None
    )
    if choice.target is not None:
        lines.append(f'What came next: "{clean_text(choice.target, MAX_TITLE_LENGTH)}".')
    if told:
        lines.append(f"In the answer, what came next was {told}.")
    if hinted and choice.chosen.measured_gain is not None:
        gain = _signed(choice.chosen.measured_gain)
        lines.append(f"Measured on this session, the hint changed NDCG@10 by {gain}.")
    return lines


def _print_neighbours(choice: ExplainedChoice, console: Console) -> None:
    shown, gains = choice.neighbours[:_MOST_NEIGHBOURS], [gain for *_, gain in choice.neighbours]
    columns = {
        "alike": [_unsigned(similarity) for _, similarity, _ in shown],
        "gain": [_signed(gain) for *_, gain in shown],
        "session": [clean_text(session_id, _LONGEST_ID) for session_id, *_ in shown],
    }
    title = "What the same brought training sessions like this one"
    _print_table(title, columns, console, of=len(gains))
    _say(f"Mean gain of all {len(gains)}: {_signed(sum(gains) / len(gains))}.", console)


def _print_table(
    title: str, columns: Mapping[str, Sequence[str]], console: Console, *, of: int = 0
) -> None:
    """Print clean cells by heading, text last, ``of`` so many; without columns that are empty."""
    table = narrow_table(title)
    # The title is as wide as the table: a narrow one would break it.
    table.expand = True
    *numbers, last = columns
    known = [name for name in numbers if any(columns[name])]
    for name in known:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_column(last, overflow="fold", ratio=1)
    for cells in zip(*(columns[name] for name in (*known, last)), strict=True):
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)
    if (rest := of - len(columns[last])) > 0:
        _say(f"... and {rest} more.", console)
    if told := "; ".join(f"{name}: {_MEANINGS[name]}" for name in known if name in _MEANINGS):
        _say(f"{told}.", console)


def _unsigned(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    """Three digits with a sign, never ``-0.000``."""
    return "" if value is None else f"{round(value, 3) + 0.0:+.3f}"


def _say(line: str, console: Console) -> None:
    # As Text, and not as a string, lest ":name:" become a picture.
    console.print(Text(line))
