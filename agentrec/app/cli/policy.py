"""Commands about hint policies: ``agentrec policy train``, ``eval``, ``compare``, ``explain``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from agentrec.app.cli.options import (
    ConcurrencyOption,
    ConfigOption,
    DataOption,
    DebugOption,
    JsonOption,
    RunOption,
    cli_overrides,
    exit_with_error,
)
from agentrec.app.reports.tables import print_result
from agentrec.errors import InputError

if TYPE_CHECKING:
    from agentrec.settings.run_settings import RunSettings

policy_app = typer.Typer(
    help="Train, evaluate, compare and explain the hint policies of a run.", no_args_is_help=True
)

SplitOption = Annotated[str, typer.Option(help="Sessions to use: test or valid.")]
NameArgument = Annotated[
    str, typer.Argument(help="Name of a trained policy, or live for the one in use.")
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
        typer.Option("--set", help="A setting of the kind as NAME=VALUE; repeat for more."),
    ] = None,
    nearest: Annotated[
        int | None, typer.Option(min=1, help="Choose among this many of the nearest hints.")
    ] = None,
    halving: Annotated[
        bool | None,
        typer.Option(
            "--halving/--no-halving",
            help="Try a few hints on each training session instead of all.",
        ),
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Reward: ndcg, reciprocal_rank, hit or sign.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the training. Default: the run's.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the policy. Default: its kind.")] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Use it from now on if it passes the gate.")
    ] = True,
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Train a policy on measured rewards, and use it from now on if it beats giving no hint.

    Stop with Ctrl-C; the same command resumes.
    """
    with exit_with_error(debug):
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


@policy_app.command("eval")
def eval_(
    name: NameArgument = "live",
    split: SplitOption = "test",
    every_hint: Annotated[
        bool,
        typer.Option("--every-hint", help="Measure every hint, not only the chosen one."),
    ] = False,
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure the gain of a policy, and attribute it to hints and sessions."""
    with exit_with_error(debug):
        from agentrec.app.policies.evaluation import evaluate_policy
        from agentrec.app.policies.requested_training import split_named
        from agentrec.app.reports.policy_report import attribution_record

        settings = _settings(run, config, data, concurrency)
        console = Console(stderr=json_)
        wanted = split_named(split)
        found = asyncio.run(evaluate_policy(settings, name, wanted, console, every_hint=every_hint))
        record = attribution_record(found.attribution, found.texts)
        print_result(record, found.report(), as_json=json_)


@policy_app.command()
def compare(
    policies: Annotated[
        list[str] | None,
        typer.Argument(help="Kinds to compare. Default: nine of them."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per policy.")] = 3,
    split: SplitOption = "test",
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train policies of several kinds on the same rewards and compare them on the same sessions."""
    with exit_with_error(debug):
        from agentrec.app.policies.comparison import compare as compare_in_run
        from agentrec.app.policies.comparison import note_on
        from agentrec.app.policies.requested_training import split_named, wanted_policies
        from agentrec.app.reports.policy_report import comparison_report

        settings = _settings(run, config, data, concurrency)
        wanted = wanted_policies(settings.policy, policies or ())
        sessions = split_named(split)
        found = asyncio.run(
            compare_in_run(settings, wanted, seeds, sessions, Console(stderr=json_))
        )
        report = comparison_report(found, note_on(sessions, settings))
        print_result(found, report, as_json=json_)


@policy_app.command()
def explain(
    session: Annotated[str, typer.Argument(help="Id of a session in the run's data.")],
    policy: Annotated[
        str, typer.Option(help="Name of a trained policy, or live for the one in use.")
    ] = "live",
    run: RunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Explain what a policy chooses for one session, among which hints, and why."""
    with exit_with_error(debug):
        from agentrec.app.policies.explanation import explain_choice
        from agentrec.app.reports.choice_report import choice_report

        settings = _settings(run, config, data, None)
        found = asyncio.run(explain_choice(settings, policy, session, Console(stderr=json_)))
        print_result(found, choice_report(found), as_json=json_)


def _settings(
    run: Path | None, config: Path | None, data: Path | None, concurrency: int | None
) -> RunSettings:
    from agentrec.runs.open_run import settings_of_run

    return settings_of_run(cli_overrides(run=run, data=data, concurrency=concurrency), config)


def _set(pairs: Sequence[str]) -> Mapping[str, Any] | None:
    """Parse ``NAME=VALUE`` pairs; values are JSON, or else texts."""
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
