"""Commands that tune on preference pairs: ``agentrec dpo train`` and ``eval``."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from agentrec.app.cli.options import DebugOption, JsonOption, exit_with_error, print_line
from agentrec.errors import InputError

if TYPE_CHECKING:
    from agentrec.policies.alignment.config import AlignmentConfig

dpo_app = typer.Typer(
    help="Tune a language model on preference pairs, and evaluate the result.", no_args_is_help=True
)

_stdout = Console()

PairsArgument = Annotated[Path, typer.Argument(help="File of preference pairs.")]


@dpo_app.command()
def train(
    pairs: PairsArgument,
    model: Annotated[
        str,
        typer.Argument(help="Model to tune: a folder (also an embedded model) or hub:NAME."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to create; must not exist.")],
    method: Annotated[
        str | None,
        typer.Option(help="dpo, or rft: fine-tuning on the chosen texts. Default: dpo."),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(help="Larger: stays closer to the original. Default: 0.1."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs. Default: 2.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: depends on method and model.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs per step. Default: 16.")] = None,
    lora_rank: Annotated[
        int | None,
        typer.Option(help="Train a LoRA adapter of this rank, for large models. Default: none."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything that is sampled. Default: 0.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting as NAME=VALUE; repeat for more."),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Tune a model on pairs. Stop with Ctrl-C; the same command resumes."""
    with exit_with_error(debug):
        from agentrec.app.preferences.model_tuning import dpo_train

        given = {
            "method": method,
            "beta": beta,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "lora_rank": lora_rank,
            "seed": seed,
        }
        done = asyncio.run(dpo_train(pairs, model, out, _config(given, set_ or ()), _stdout))
        lines = [f"written to {out}; its alignment.json says what it was made of"]
        if done.record.tuned == "embedded":
            lines.append(f"use it: agentrec demo --llm catalog-lm:{out}")
        lines.append(f"evaluate it: agentrec dpo eval OTHER_PAIRS {model} {out}")
        for line in lines:
            print_line(line, _stdout)


@dpo_app.command("eval")
def evaluate(
    pairs: PairsArgument,
    base: Annotated[str, typer.Argument(help="The original model: a folder or hub:NAME.")],
    tuned: Annotated[str, typer.Argument(help="The tuned model: a folder that `train` made.")],
    beta: Annotated[float, typer.Option(min=1e-6, help="Factor of the reward margins.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of intervals and sampled texts.")] = 0,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare a tuned model with the original, on pairs that it was not tuned on."""
    with exit_with_error(debug, stopped="Stopped."):
        from agentrec.app.preferences.model_tuning import dpo_eval, judgement_report
        from agentrec.app.reports.tables import show

        console = Console(stderr=True) if json_ else _stdout
        judgement = asyncio.run(dpo_eval(pairs, base, tuned, console, beta=beta, seed=seed))
        if json_:
            sys.stdout.write(judgement.model_dump_json() + "\n")
        else:
            show(judgement_report(judgement), _stdout)


def _config(given: Mapping[str, Any], set_: Sequence[str]) -> AlignmentConfig:
    from agentrec.policies.alignment.config import AlignmentConfig

    wanted = {name: value for name, value in given.items() if value is not None}
    known = list(AlignmentConfig.model_fields)
    for each in set_:
        name, equals, value = each.partition("=")
        if not equals:
            raise InputError(f"{each!r} is not NAME=VALUE", field="set")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known settings: {', '.join(known)}"
            raise InputError(f"{name!r} is not a setting; {hint}", field="set")
        wanted[name] = value
    return AlignmentConfig.model_validate(wanted)
