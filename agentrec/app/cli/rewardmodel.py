"""The commands about the reward model: ``agentrec rewardmodel train`` and ``eval``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from agentrec.app.cli.cli_overrides import cli_overrides, without_none
from agentrec.app.cli.exit_with_error import DebugOption, exit_with_error
from agentrec.app.cli.policy import ConcurrencyOption, ConfigOption, DataOption
from agentrec.app.cli.prefer import LlmOption, PreferRunOption

rewardmodel_app = typer.Typer(
    help="What says how much a preference text helps a recommender.", no_args_is_help=True
)

BackboneOption = Annotated[
    str | None, typer.Option(help="Recommender told the texts: sasrec or gru4rec.")
]
AdapterOption = Annotated[
    str | None, typer.Option(help="What texts do to it: mlp, or mixture of experts.")
]


@rewardmodel_app.command()
def train(
    backbone: BackboneOption = None,
    adapter: AdapterOption = None,
    run: PreferRunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    llm: LlmOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of everything that is drawn. Default: 0.")
    ] = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Train the reward model on the earlier training sessions, with texts about them.

    Ctrl-C stops it; the same command goes on where it was.
    """
    try:
        from agentrec.app.preferences.run_collection import run_settings, train_reward_model

        prefer = {"backbone": backbone, "reward_model": {"adapter": adapter}}
        given = cli_overrides(run, data, llm, seed, concurrency) | {"prefer": prefer}
        asyncio.run(train_reward_model(run_settings(without_none(given), config), Console()))
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)


@rewardmodel_app.command("eval")
def eval_(
    tuned: Annotated[
        list[str] | None,
        typer.Option(help="Another model to write texts, as PROVIDER:MODEL; several times."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Whose sessions: test, or valid to choose settings by.")
    ] = "test",
    backbone: BackboneOption = None,
    adapter: AdapterOption = None,
    run: PreferRunOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    debug: DebugOption = False,
) -> None:
    """Rank sessions without texts and with them, by the recommender and by the run's model.

    Another session's text is told too, as a control, and beside texts the hints of a live policy.
    With --tuned, texts are also written by other models, such as one that `agentrec dpo train`
    made (catalog-lm:FOLDER).
    """
    try:
        from agentrec.app.policies.requested_training import split_named
        from agentrec.app.preferences.run_collection import run_settings
        from agentrec.app.preferences.text_comparison import evaluate_texts

        prefer = {"backbone": backbone, "reward_model": {"adapter": adapter}}
        given = cli_overrides(run, data, None, None, concurrency) | {"prefer": prefer}
        settings = run_settings(without_none(given), config)
        asyncio.run(evaluate_texts(settings, tuned or (), Console(), split_named(split)))
    except (Exception, KeyboardInterrupt) as error:
        exit_with_error(error, debug)
