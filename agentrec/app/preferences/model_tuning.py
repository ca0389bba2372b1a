"""Tuning a language model on a file of preference pairs, and judging what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.reports.plots import draw_alignment
from agentrec.app.reports.run_report import new_table
from agentrec.assembly import use_one_thread
from agentrec.evaluation.intervals import Interval
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.training import Alignment, align
from agentrec.policies.alignment.tuning_evaluation import TuningEvaluation, judge
from agentrec.progress import run_blocking
from agentrec.stores.pairs.export import read_pairs

PICTURE_FILE = "training.png"

Model = Path | str
"""A folder, or ``hub:OWNER/NAME``."""


async def dpo_train(
    pairs_file: Path, model: Model, out: Path, config: AlignmentConfig, console: Console
) -> Alignment:
    """Tune a model on the pairs of a file, or go on where that was stopped.

    Args:
        pairs_file: Pairs, in any form that ``read_pairs`` reads.
        model: What is tuned.
        out: Folder of the result; nothing or an empty folder may be there.
        config: The hyper-parameters.
        console: Where progress and what came out are shown.

    Returns:
        The tuned model, with a picture of its training beside it.

    Raises:
        InputError: If the file, the model or the folder cannot be used, no pair can, or the extra
            ``dpo`` is not installed.
    """
    use_one_thread()
    pairs = await asyncio.to_thread(read_pairs, pairs_file)
    name = {"dpo": "Tuning by DPO", "rft": "Fine-tuning on the best"}[config.method]
    with ConsoleProgress(console).phase(name) as report:

        def work(check: Callable[[], None]) -> Alignment:
            def on_progress(done: int, steps: int) -> None:
                report(done, steps)
                check()

            done = align(pairs, model, out, config, on_progress=on_progress)
            title = f"{config.method}: {done.record.trained_on} examples, {out.name}"
            draw_alignment(
                out / PICTURE_FILE, done.points, kept_step=done.record.kept_step, title=title
            )
            return done

        done = await run_blocking(work)
    _print_alignment(done, console)
    return done


async def dpo_eval(
    pairs_file: Path,
    model_a: Model,
    model_b: Model,
    console: Console,
    *,
    beta: float = 0.1,
    seed: int = 0,
) -> TuningEvaluation:
    """Judge a tuned model on pairs that it was not tuned on.

    Args:
        pairs_file: The pairs, as for ``dpo_train``.
        model_a: What was tuned.
        model_b: What came of it: a model, or an adapter.
        console: Where progress is shown.
        beta: What margins are multiplied by, above 0.
        seed: Of the bootstrap and of sampled texts.

    Raises:
        InputError: If the file or a model cannot be used, or no pair can.
    """
    use_one_thread()
    pairs = await asyncio.to_thread(read_pairs, pairs_file)
    with ConsoleProgress(console).phase("Reading the pairs with both models") as report:

        def work(check: Callable[[], None]) -> TuningEvaluation:
            def on_progress(done: int, total: int) -> None:
                report(done, total)
                check()

            return judge(pairs, model_a, model_b, beta=beta, seed=seed, on_progress=on_progress)

        return await run_blocking(work)


def print_judgement(judgement: TuningEvaluation, console: Console) -> None:
    """Print what tuning did."""
    told = judgement
    table = new_table(f"{told.pairs} pairs of {told.sessions} sessions; 95 % intervals over these")
    table.add_column("measure", overflow="fold")
    table.add_column("value", justify="right")
    for name, value in (
        ("pairs in order, tuned relative to base", _interval(told.accuracy)),
        ("pairs in order, base by itself", _interval(told.base_accuracy)),
        ("reward margin (nats x beta)", _interval(told.margin, "+")),
        ("chosen text: log-probability gained (nats)", _interval(told.chosen_gain, "+")),
        ("rejected text: log-probability gained (nats)", _interval(told.rejected_gain, "+")),
    ):
        table.add_row(name, value)
    if told.in_form is not None:
        base, tuned = told.in_form
        table.add_row("lines in form, written freely", f"{base:.1%} -> {tuned:.1%}")
    console.print(table)
    _print_left_out(told.left_out, console)


def _print_alignment(done: Alignment, console: Console) -> None:
    record = done.record
    table = new_table(f"{record.config.method}, {record.tuned} parameters, {record.device}")
    table.add_column("measure", overflow="fold")
    table.add_column("value", justify="right")
    table.add_row("pairs given", f"{record.pairs:,}")
    table.add_row("learnt from", f"{record.trained_on:,}")
    table.add_row("kept out", f"{record.held_out:,}")
    table.add_row("steps, kept of them", f"{record.steps:,}, {record.kept_step:,}")
    looks = [point for point in done.points if point.part == "held_out"] or list(done.points)
    last = next((p for p in looks if p.step == record.kept_step), looks[-1] if looks else None)
    if last is not None:
        what = "pairs kept out" if last.part == "held_out" else "pairs of the last step"
        table.add_row(f"loss, {what}", f"{last.loss:.3f}")
        if last.margin is not None and last.accuracy is not None:
            table.add_row(f"reward margin, {what}", f"{last.margin:+.3f}")
            table.add_row(f"pairs in order, {what}", f"{last.accuracy:.1%}")
    console.print(table)
    _print_left_out(record.left_out, console)


def _print_left_out(left_out: Mapping[str, int], console: Console) -> None:
    for why, count in left_out.items():
        console.print(Text(f"{count:,} pairs left out: {why}"), highlight=False)


def _interval(value: Interval, sign: str = "") -> str:
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"
