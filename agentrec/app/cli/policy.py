"""The commands about hint policies: ``agentrec policy train``, ``eval``, ``compare`` ..."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from agentrec.app.cli.cli_overrides import cli_overrides, without_none
from agentrec.app.cli.exit_with_error import DebugOption, exit_with_error
from agentrec.errors import InputError

if TYPE_CHECKING:
    from agentrec.settings.run_settings import RunSettings

policy_app = typer.Typer(
    help="The hint policies of a run: train, judge, compare, explain.", no_args_is_help=True
)

RunOption = Annotated[
    Path | None, typer.Option(help="Folder of a run that has hints. Default: runs/demo.")
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="Settings file. Default: agentrec.toml or agentrec.yaml here.")
]
DataOption = Annotated[
    Path | None, typer.Option(help="The run's data, if it was moved. Default: where it was.")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(min=1, help="Most model calls in flight. Default: as the run.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead; progress goes to stderr.")
]
SplitOption = Annotated[str, typer.Option(help="Sessions to look at: test or valid.")]
NameArgument = Annotated[
    str, typer.Argument(help="A policy that `train` made, or live: the one in use.")
]


@policy_app.command()
def train(
    kind: Annotated[
        str | None,
        typer.Option(
            help="scoring_ppo, categorical_ppo, linucb, thompson, value_regression, best_single,"
            " nearest, random, fixed or no_hint. Default: the run's."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the kind as NAME=VALUE; may come several times."),
    ] = None,
    nearest: Annotated[
        int | None, typer.Option(min=1, help="Choose among so many of the nearest hints.")
    ] = None,
    halving: Annotated[
        bool | None,
        typer.Option(
            "--halving/--no-halving",
            help="Try few hints on each training session instead of all; what was tried counts.",
        ),
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Reward: ndcg, reciprocal_rank, hit or sign.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the training. Default: the run's.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call it. Default: after its kind.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Let it go live, if it passes the gate.")
    ] = True,
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Train a policy on what hints bring, and let it go live if it is better than no hint.

    Ctrl-C stops it; the same command goes on where it was.
    """
    try:
        from agentrec.app.policies.requested_training import changed_policy, train_in_run

        settings = _settings(run, config, data, concurrency)
        given = {
            "kind": kind,
            "settings": _set(set_ or ()),
            "nearest": nearest,
            "halving": halving,
            "shape": shape,
        }
        policy = changed_policy(settings.policy, given)
        console = Console()
        asyncio.run(train_in_run(settings, policy, console, seed=seed, name=name, live=live))
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@policy_app.command("eval")
def eval_(
    name: NameArgument = "live",
    split: SplitOption = "test",
    every_hint: Annotated[
        bool,
        typer.Option("--every-hint", help="Measure every hint on every session, chosen or not."),
    ] = False,
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure what a policy gains, and say which hints and which sessions it comes from."""
    try:
        from agentrec.app.policies.evaluation import evaluate_policy
        from agentrec.app.policies.requested_training import split_named
        from agentrec.app.reports.attribution_report import attribution_json

        settings = _settings(run, config, data, concurrency)
        console = Console(stderr=json_)
        wanted = split_named(split)
        found = asyncio.run(evaluate_policy(settings, name, wanted, console, every_hint=every_hint))
        told = json_ and attribution_json(found.attribution, found.texts)
        _tell(told or None, found.tell)
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@policy_app.command()
def compare(
    policies: Annotated[
        list[str] | None,
        typer.Argument(help="Kinds to compare. Default: nine of them."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often to train each.")] = 3,
    split: SplitOption = "test",
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train policies of many kinds on the same rewards and compare them on the same sessions."""
    try:
        from agentrec.app.policies.comparison import compare as compare_in_run
        from agentrec.app.policies.comparison import note_on
        from agentrec.app.policies.requested_training import split_named, wanted_policies
        from agentrec.app.reports.comparison_report import comparison_json, print_comparison

        settings = _settings(run, config, data, concurrency)
        wanted = wanted_policies(settings.policy, policies or ())
        sessions = split_named(split)
        found = asyncio.run(
            compare_in_run(settings, wanted, seeds, sessions, Console(stderr=json_))
        )
        note = note_on(sessions, settings)
        _tell(
            comparison_json(found) if json_ else None,
            lambda console: print_comparison(found, console, note=note),
        )
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@policy_app.command()
def explain(
    session: Annotated[str, typer.Argument(help="Id of a session of the run's data.")],
    policy: Annotated[
        str, typer.Option(help="A policy that `train` made, or live: the one in use.")
    ] = "live",
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what a policy chooses for one session, among what, and what decided."""
    try:
        from agentrec.app.policies.explanation import explain_choice
        from agentrec.app.reports.choice_report import choice_json, print_choice

        settings = _settings(run, config, data, None)
        found = asyncio.run(explain_choice(settings, policy, session, Console(stderr=json_)))
        _tell(choice_json(found) if json_ else None, lambda console: print_choice(found, console))
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


def _settings(
    run: Path | None, config: Path | None, data: Path | None, concurrency: int | None
) -> RunSettings:
    from agentrec.runs.open_run import settings_of_run

    given = cli_overrides(run, data, None, None, concurrency)
    return settings_of_run(without_none(given), config)


def _set(pairs: Sequence[str]) -> Mapping[str, Any] | None:
    """``NAME=VALUE`` each; values as JSON, or as they are where they are none."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise InputError(f"{pair!r} is not NAME=VALUE", field="set")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found or None


def _tell(record: str | None, show: Callable[[Console], None]) -> None:
    if record is not None:
        sys.stdout.write(record + "\n")
    else:
        show(Console())
