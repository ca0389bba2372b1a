"""What commands share: options, settings given by options, and how a command ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from agentrec.errors import AgentRecError, InputError, ModelCallError

INTERRUPTED = 130

ConfigOption = Annotated[
    Path | None,
    typer.Option(help="Settings file. Default: agentrec.toml or agentrec.yaml in this folder."),
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(min=1, help="Most model calls at a time. Default: as in the run.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(help="Folder with the run's data, if it was moved. Default: where it was."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; progress goes to stderr.")
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        help="Chat model as PROVIDER:MODEL. Default: the run's, or else the embedded model."
    ),
]
NewRunOption = Annotated[
    Path | None, typer.Option(help="Run folder, made if missing. Default: runs/demo.")
]
RunOption = Annotated[
    Path | None, typer.Option(help="Folder of a run that has hints. Default: runs/demo.")
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="Seed of everything that is sampled. Default: 0.")
]

_stderr = Console(stderr=True)


def cli_overrides(
    *,
    run: Path | None = None,
    data: Path | None = None,
    llm: str | None = None,
    seed: int | None = None,
    concurrency: int | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return the settings that options give, nested like the settings themselves.

    Args:
        run: The run folder.
        data: The data folder.
        llm: The chat model.
        seed: The seed.
        concurrency: Most model calls at a time.
        others: Other settings by name; mappings are sections, and ``None`` is not given.
    """
    given = {"run": run, "data": data, "llm": {"name": llm}, "seed": seed, **others}
    given["limits"] = {"max_concurrency": concurrency, **others.get("limits", {})}
    return _without_none(given)


def _without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    # An option that is not given must not hide a setting of another source.
    kept = {}
    for name, value in given.items():
        inner = _without_none(value) if isinstance(value, Mapping) else value
        if inner is not None and inner != {}:
            kept[name] = inner
    return kept


def print_line(text: str, console: Console) -> None:
    """Print one line in which nothing is markup and no path is wrapped."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def exit_with_error(
    debug: bool, stopped: str = "Stopped. Run the same command again to resume."
) -> Iterator[None]:
    """End the command with one clear line and the right exit code if the block fails.

    Args:
        debug: Whether to show the traceback too.
        stopped: What to print after Ctrl-C.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        _exit(stopped, INTERRUPTED, debug)
    except ModelCallError as error:
        prefix = "Stopped" if error.kind == "budget_spent" else "error"
        _exit(f"{prefix}: {error}", error.exit_code, debug)
    except AgentRecError as error:
        _exit(f"error: {error}", error.exit_code, debug)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        _exit(f"error: {field}: {first['msg']}", InputError.exit_code, debug)
    except Exception as error:
        name = type(error).__name__
        _exit(f"error: {name}: {error} (--debug shows the traceback)", 1, debug)


def _exit(line: str, code: int, debug: bool) -> None:
    if debug:
        _stderr.print_exception()
    _stderr.print(
        " ".join(line.split()), style="red", markup=False, highlight=False, soft_wrap=True
    )
    sys.exit(code)
