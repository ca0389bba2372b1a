import io
import json
import math
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from rich.cells import cell_len
from rich.console import Console

from agentrec.app.reports.choice_report import ExplainedChoice, ExplainedOption, choice_report
from agentrec.app.reports.tables import show, to_json


def _option(index: int, **more: Any) -> ExplainedOption:
    option = ExplainedOption(
        hint_id=f"h{index}",
        text=f"Prefer number {index}.",
        score=1 - 0.25 * index,
        probability=0.62 - 0.05 * index,
        similarity=0.9 - 0.05 * index,
        predicted_gain=0.05 - 0.01 * index,
        measured_gain=None if index % 2 else 0.131,
        chosen=index == 0,
    )
    return replace(option, **more)


NO_HINT = ExplainedOption(
    hint_id=None,
    text="",
    score=0.1,
    probability=0.1,
    similarity=None,
    predicted_gain=0.0,
    measured_gain=0.0,
    chosen=False,
)


def _choice(**more: Any) -> ExplainedChoice:
    choice = ExplainedChoice(
        session_id="s-17",
        history=tuple(f"Film {index}" for index in range(1, 8)),
        policy="scoring_ppo",
        options=(_option(0), _option(1), _option(2), NO_HINT),
        log_probability=0.0,
        value=0.04,
        state=(("history text", 1.23), ("candidates", 0.4), ("length", 2.9)),
        deciding=(("candidates", -0.11), ("history text", 0.52)),
        neighbours=(("t1", 0.91, 0.1), ("t2", 0.8, -0.04)),
        target="Casino (1995)",
        rank_without=7,
        rank_with=2,
    )
    return replace(choice, **more)


def _bare(**more: Any) -> ExplainedChoice:
    """A choice of which nothing else is known."""
    option = replace(
        NO_HINT, probability=None, predicted_gain=None, measured_gain=None, chosen=True
    )
    nothing: dict[str, Any] = {"state": (), "deciding": (), "neighbours": (), "history": ()}
    nothing |= {"target": None, "rank_without": None, "rank_with": None, "value": 0.0}
    return _choice(**{**nothing, "options": (option,), "policy": "no_hint", **more})


def _printed(choice: ExplainedChoice, width: int = 80) -> str:
    out = io.StringIO()
    show(choice_report(choice), Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def _flat(choice: ExplainedChoice) -> str:
    return " ".join(_printed(choice).split())


def _rows(text: str, title: str) -> list[str]:
    """Cells, parted by single spaces, of the table with this title, which is 200 columns wide."""
    lines = text.partition(title)[2].partition("─\n")[2].partition("\n\n")[0].splitlines()
    return [" ".join(line.split()) for line in lines]


def test_it_starts_with_what_was_chosen() -> None:
    assert _flat(_choice()).startswith(
        'For session s-17, scoring_ppo gives the hint "Prefer number 0." '
        "(probability 0.62, expected gain +0.050). Its history,"
    )
    assert _flat(_bare()).startswith("For session s-17, no_hint gives no hint. No history.")


def test_what_the_option_does_not_say_comes_from_the_choice() -> None:
    vague = _option(0, probability=None, predicted_gain=None)
    drawn = _choice(options=(vague, NO_HINT), log_probability=math.log(0.25), value=-0.02)
    assert "(probability 0.25, expected gain -0.020)" in _flat(drawn)
    certain = _choice(options=(vague, NO_HINT), value=0.0)
    assert 'the hint "Prefer number 0.". Its' in _flat(certain)


def test_only_the_end_of_the_history_is_shown_most_recent_last() -> None:
    text = _flat(_choice())
    assert "the last 5 of 7, most recent last Film 3 Film 4 Film 5 Film 6 Film 7 What" in text
    short = _flat(_choice(history=("One", "Two")))
    assert "Its history, most recent last One Two What" in short


def test_each_option_has_its_numbers() -> None:
    rows = _rows(_printed(_choice(), 200), "on offer")
    assert rows[0] == "> 1 1.000 0.62 0.90 +0.050 +0.131 Prefer number 0."
    assert rows[1] == "2 0.750 0.57 0.85 +0.040 Prefer number 1."
    assert rows[3] == "4 0.100 0.10 +0.000 +0.000 (no hint)"


def test_what_nobody_knows_gets_no_column() -> None:
    text = _printed(_bare(), 200)
    assert _rows(text, "on offer") == ["> 1 0.100 (no hint)"]
    for heading in ("prob", "cosine", "predicted", "measured", "unusual", "falls", "next", "Mean"):
        assert heading not in text


def test_at_most_ten_options_are_shown_the_chosen_one_among_them() -> None:
    options = tuple(_option(index, chosen=index == 12, score=-index) for index in range(14))
    text = _printed(_choice(options=options), 200)
    rows = _rows(text, "on offer")
    assert [row.split()[0] for row in rows[:9]] == [str(index) for index in range(1, 10)]
    assert rows[9].startswith("> 13 ")
    assert "... and 4 more." in text
    assert "number 9" not in text
    assert "Another option has a better score" in text
    assert "Another option" not in _printed(_choice())


def test_parts_that_decided_come_before_the_others() -> None:
    text = _printed(_choice(), 200)
    assert "the margin over the best other option is 0.250" in text
    rows = _rows(text, "What decided")
    assert rows[0] == "+0.520 1.2 history text (without it, the choice would be another)"
    assert rows[1:3] == ["-0.110 0.4 candidates", "2.9 length"]
    only_state = _printed(_choice(deciding=()), 200)
    assert "falls by" not in only_state
    assert _rows(only_state, "How unusual")[0] == "1.2 history text"
    assert "unusual" not in _printed(_choice(state=()), 200)
    assert "margin over" not in _printed(_choice(options=(_option(0),)), 200)


def test_the_measured_outcome_is_shown() -> None:
    text = _flat(_choice())
    assert 'The next item: "Casino (1995)".' in text
    assert "the next item was at rank 7 without a hint, at rank 2 with it." in text
    assert "the hint changed NDCG@10 by +0.131." in text
    lost = _flat(_choice(rank_without=None, rank_with=0))
    assert "the next item was not among the first 10 with it." in lost
    unknown = _flat(_choice(rank_without=None, rank_with=None, target=None))
    assert "next item" not in unknown


def test_no_hint_has_no_outcome_of_a_hint() -> None:
    options = (replace(NO_HINT, chosen=True, score=2.0), _option(1))
    text = _flat(_choice(options=options))
    assert "gives no hint" in text
    assert "the next item was at rank 7 without a hint." in text
    assert "with it" not in text
    assert "the hint changed" not in text


def test_similar_sessions_are_shown_and_counted() -> None:
    text = _printed(_choice(), 200)
    assert _rows(text, "similar training sessions")[:2] == ["0.91 +0.100 t1", "0.80 -0.040 t2"]
    assert "Mean gain of all 2: +0.030." in text
    many = _printed(_choice(neighbours=tuple((f"t{at}", 0.5, 0.01 * at) for at in range(9))))
    assert "... and 4 more." in many
    assert "Mean gain of all 9: +0.040." in many


def test_80_columns_hold_every_number_whole() -> None:
    options = tuple(
        _option(index, text="Prefer what is long. " * 30, score=-1234.5 - index)
        for index in range(12)
    )
    text = _printed(_choice(options=options))
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "-1234.500" in text
    # The chosen hint stands whole in the first sentence, up to the longest that a hint may be.
    assert text.partition("(probability")[0].count("long.") >= 14


def test_scores_of_what_a_policy_rules_out() -> None:
    ruled_out = _choice(options=(_option(0), _option(1, score=-math.inf)))
    assert "-inf" in _printed(ruled_out)
    assert "margin over" not in _printed(ruled_out)
    assert json.loads(to_json(ruled_out))["options"][1]["score"] is None


def test_the_json_of_a_choice_comes_back() -> None:
    for choice in (_choice(), _bare()):
        assert TypeAdapter(ExplainedChoice).validate_json(to_json(choice)) == choice
