"""Commands about the reward model: ``agentrec rewardmodel train`` and ``eval``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from agentrec.app.cli.options import (
    ConcurrencyOption,
    ConfigOption,
    DataOption,
    DebugOption,
    LlmOption,
    NewRunOption,
    SeedOption,
    cli_overrides,
    exit_with_error,
)

rewardmodel_app = typer.Typer(
    help="Score how much a preference text helps a recommender.", no_args_is_help=True
)

BackboneOption = Annotated[
    str | None, typer.Option(help="Recommender that receives the texts: sasrec or gru4rec.")
]
AdapterOption = Annotated[
    str | None,
    typer.Option(help="How texts enter the recommender: mlp, or mixture (of experts)."),
]


@rewardmodel_app.command()
def train(
    backbone: BackboneOption = None,
    adapter: AdapterOption = None,
    run: NewRunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    llm: LlmOption = None,
    seed: SeedOption = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Train the reward model on the earlier training sessions and texts about them.

    Stop with Ctrl-C; the same command resumes.
    """
    with exit_with_error(debug):
        from agentrec.app.preferences.run_collection import run_settings, train_reward_model

        prefer = {"backbone": backbone, "reward_model": {"adapter": adapter}}
        given = cli_overrides(
            run=run, data=data, llm=llm, seed=seed, concurrency=concurrency, prefer=prefer
        )
        asyncio.run(train_reward_model(run_settings(given, config), Console()))


@rewardmodel_app.command("eval")
def eval_(
    tuned: Annotated[
        list[str] | None,
        typer.Option(help="Another model that writes texts, as PROVIDER:MODEL; repeat for more."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Sessions to use: test, or valid while choosing settings.")
    ] = "test",
    backbone: BackboneOption = None,
    adapter: AdapterOption = None,
    run: NewRunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Rank sessions with and without texts, by the recommender and by the run's model.

    As a control, sessions are also ranked with another session's text; beside texts, with the
    hints of the live policy. With --tuned, other models write texts too, such as one that
    `agentrec dpo train` made (catalog-lm:FOLDER).
    """
    with exit_with_error(debug):
        from agentrec.app.policies.requested_training import split_named
        from agentrec.app.preferences.run_collection import run_settings
        from agentrec.app.preferences.text_comparison import evaluate_texts

        prefer = {"backbone": backbone, "reward_model": {"adapter": adapter}}
        given = cli_overrides(run=run, data=data, concurrency=concurrency, prefer=prefer)
        settings = run_settings(given, config)
        asyncio.run(evaluate_texts(settings, tuned or (), Console(), split_named(split)))
