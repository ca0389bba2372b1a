"""What a journal knows beside its answers: failures, what was paid, facts, and older files."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agentrec.errors import InputError
from agentrec.llm.cost.usage import Spending
from agentrec.llm.journal import CallJournal
from agentrec.llm.journal_file import JournaledAnswer, JournaledFailure


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


def failure(n: int, **changes: object) -> JournaledFailure:
    fields = {"key": "k", "node": "rank", "kind": "timed_out", "problem": f"slow {n}", "time": 1.0}
    return JournaledFailure(**{**fields, "attempt": n, **changes})  # type: ignore[arg-type]


async def test_failures_are_noted_beside_answers_and_stand_in_no_way(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        journal.note_failure(failure(1))
        journal.note_failure(failure(2, problem="half \ud83d", kind="malformed", output_tokens=5))
        assert await journal.get("k") is None
        assert len(journal) == 0
        await journal.put("k", "rank", JournaledAnswer("fine", 3, 4))
        assert await journal.get("k") == JournaledAnswer("fine", 3, 4)
        journal.note_failure(failure(1, key="other"))
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT key, node, kind, problem, time, attempt FROM failures")
    assert rows.fetchall() == [
        ("k", "rank", "timed_out", "slow 1", 1.0, 1),
        ("k", "rank", "malformed", "half ?", 1.0, 2),
        ("other", "rank", "timed_out", "slow 1", 1.0, 1),
    ]
    connection.close()
    # After closing there is nothing to write to, and nobody to tell.
    journal.note_failure(failure(1))


async def test_what_was_paid_is_summed_by_node_and_model_over_the_whole_life(path: Path) -> None:
    for start in (0, 10):
        async with await CallJournal.open(path) as journal:
            for n in range(start, start + 4):
                model = "large" if n % 2 else "small"
                answer = JournaledAnswer("x", 10, 1, model, attempt=1 + (n == start))
                await journal.put(f"k{n}", "rank", answer)
            # A second answer under a key was paid for by somebody, but is not kept.
            await journal.put(f"k{start}", "rank", JournaledAnswer("late", 99, 99, "small"))
            journal.note_failure(failure(1, model="small", input_tokens=7))
            journal.note_failure(failure(3, node="repair", model="small"))
            spendings = await journal.spendings()
            assert len(journal) == (4 if start == 0 else 8)
    assert spendings == (
        Spending("rank", "large", answers=4, input_tokens=40, output_tokens=4),
        Spending(
            "rank",
            "small",
            answers=4,
            failures=2,
            input_tokens=40,
            output_tokens=4,
            lost_input_tokens=14,
            retries=2,
        ),
        Spending("repair", "small", failures=2, retries=2),
    )
    async with await CallJournal.open(path) as journal:
        assert journal.tokens == {"input": 80, "output": 8}


async def test_of_two_equal_ones_in_one_transaction_one_is_counted(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        puts = [journal.put("k", "n", JournaledAnswer(text, 5, 1)) for text in ("one", "two")]
        assert await asyncio.gather(*puts) == [JournaledAnswer("one", 5, 1)] * 2
        assert (len(journal), journal.tokens) == (1, {"input": 5, "output": 1})


async def test_facts_are_remembered(path: Path) -> None:
    async with await CallJournal.open(path) as journal:
        assert journal.fact("m can") is None
        await journal.put_fact("m can", "yes")
        await journal.put_fact("m can", "no")
    async with await CallJournal.open(path) as journal:
        assert journal.fact("m can") == "no"


async def test_facts_of_another_journal_are_taken_where_none_is_known(
    path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.sqlite"
    async with await CallJournal.open(other) as known:
        await known.put_fact("m can", "yes")
        await known.put_fact("n can", "yes")
    async with await CallJournal.open(path) as journal:
        await journal.put_fact("n can", "no")
        await journal.take_facts(other)
        await journal.take_facts(tmp_path / "nowhere.sqlite")
    async with await CallJournal.open(path) as journal:
        assert (journal.fact("m can"), journal.fact("n can")) == ("yes", "no")
        other.write_text("not a journal at all, but long enough to be taken for one" * 20)
        with pytest.raises(InputError):
            await journal.take_facts(other)
