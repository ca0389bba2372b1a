"""Tuning a language model on a file of preference pairs, and judging what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from agentrec.app.cli.progress import ConsoleProgress
from agentrec.app.reports.plots import draw_alignment
from agentrec.app.reports.tables import (
    GAIN,
    Column,
    Report,
    Table,
    format_interval,
    show,
)
from agentrec.assembly import use_one_thread
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
    show(_alignment_report(done), console)
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


def judgement_report(judgement: TuningEvaluation) -> Report:
    """Report what tuning changed."""
    rows = {
        "pairs in order, tuned relative to base": format_interval(judgement.accuracy, ".3f"),
        "pairs in order, base by itself": format_interval(judgement.base_accuracy, ".3f"),
        "reward margin (nats x beta)": format_interval(judgement.margin, GAIN),
        "chosen text: log-probability gained (nats)": format_interval(judgement.chosen_gain, GAIN),
        "rejected text: log-probability gained (nats)": format_interval(
            judgement.rejected_gain, GAIN
        ),
    }
    if judgement.in_form is not None:
        base, tuned = judgement.in_form
        rows["lines in form, written freely"] = f"{base:.1%} -> {tuned:.1%}"
    title = f"{judgement.pairs} pairs of {judgement.sessions} sessions; 95 % intervals over these"
    return [_measures(title, rows, judgement.left_out)]


def _alignment_report(done: Alignment) -> Report:
    record = done.record
    rows = {
        "pairs given": f"{record.pairs:,}",
        "learnt from": f"{record.trained_on:,}",
        "kept out": f"{record.held_out:,}",
        "steps, kept of them": f"{record.steps:,}, {record.kept_step:,}",
    }
    looks = [point for point in done.points if point.part == "held_out"] or list(done.points)
    if looks:
        last = next((p for p in looks if p.step == record.kept_step), looks[-1])
        what = "pairs kept out" if last.part == "held_out" else "pairs of the last step"
        rows[f"loss, {what}"] = f"{last.loss:.3f}"
        if last.margin is not None and last.accuracy is not None:
            rows[f"reward margin, {what}"] = f"{last.margin:+.3f}"
            rows[f"pairs in order, {what}"] = f"{last.accuracy:.1%}"
    title = f"{record.config.method}, {record.tuned} parameters, {record.device}"
    return [_measures(title, rows, record.left_out)]


def _measures(title: str, rows: Mapping[str, str], left_out: Mapping[str, int]) -> Table:
    return Table(
        title,
        (Column("measure"), Column("value", ">")),
        tuple(rows.items()),
        tuple(f"{count:,} pairs left out: {why}" for why, count in left_out.items()),
    )
