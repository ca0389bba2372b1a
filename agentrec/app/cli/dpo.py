"""The commands about tuning on preference pairs: ``agentrec dpo train`` and ``eval``."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from agentrec.app.cli.exit_with_error import DebugOption, exit_with_error
from agentrec.errors import InputError

if TYPE_CHECKING:
    from agentrec.policies.alignment.config import AlignmentConfig

dpo_app = typer.Typer(
    help="Tune a language model on preference pairs, and see what that did.", no_args_is_help=True
)

_stdout = Console()

PairsArgument = Annotated[Path, typer.Argument(help="File of preference pairs.")]


@dpo_app.command()
def train(
    pairs: PairsArgument,
    model: Annotated[
        str, typer.Argument(help="Folder of what is tuned, the embedded model's too, or hub:NAME.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make; nothing may be there yet.")],
    method: Annotated[
        str | None,
        typer.Option(help="dpo (default), or rft: plain fine-tuning on the chosen texts."),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Larger: stays closer to the model as it was. Default: 0.1")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs. Default: 2.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest step size. Default: by method and model.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs a step. Default: 16.")] = None,
    lora_rank: Annotated[
        int | None,
        typer.Option(help="Make a LoRA adapter of this rank, for large models. Default: none."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything that is drawn. Default: 0.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting as NAME=VALUE; may come several times."),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Tune a model on pairs. Ctrl-C stops it; the same command goes on where it was."""
    try:
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
        lines = [f"written to {out}; what it was made of is in its alignment.json"]
        if done.record.tuned == "embedded":
            lines.append(f"use it: agentrec demo --llm catalog-lm:{out}")
        lines.append(f"judge it: agentrec dpo eval OTHER_PAIRS {model} {out}")
        for line in lines:
            # A path that is wrapped cannot be copied.
            _stdout.print(line, markup=False, highlight=False, soft_wrap=True)
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@dpo_app.command("eval")
def evaluate(
    pairs: PairsArgument,
    base: Annotated[str, typer.Argument(help="Folder of what was tuned, or hub:NAME.")],
    tuned: Annotated[str, typer.Argument(help="Folder of what `train` made.")],
    beta: Annotated[
        float, typer.Option(min=1e-6, help="What reward margins are multiplied by.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of intervals and sampled texts.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: DebugOption = False,
) -> None:
    """Compare a tuned model with what it was, on pairs that it was not tuned on."""
    try:
        from agentrec.app.preferences.model_tuning import dpo_eval, print_judgement

        console = Console(stderr=True) if json_ else _stdout
        told = asyncio.run(dpo_eval(pairs, base, tuned, console, beta=beta, seed=seed))
        if json_:
            sys.stdout.write(told.model_dump_json() + "\n")
        else:
            print_judgement(told, _stdout)
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug, stopped="Stopped.")


def _config(given: Mapping[str, Any], set_: Sequence[str]) -> AlignmentConfig:
    from agentrec.policies.alignment.config import AlignmentConfig

    wanted = {name: value for name, value in given.items() if value is not None}
    known = list(AlignmentConfig.model_fields)
    for each in set_:
        name, equals, value = each.partition("=")
        if not equals:
            raise InputError(f"{each!r} is not of the form NAME=VALUE", field="set")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            told = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"{name!r} is no setting; {told}", field="set")
        wanted[name] = value
    return AlignmentConfig.model_validate(wanted)
