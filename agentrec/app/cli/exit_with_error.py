"""How a command ends when something went wrong: one clear line and the right exit code."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from agentrec.errors import AgentRecError, InputError, ModelCallError

INTERRUPTED = 130

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]

_stderr = Console(stderr=True)


def exit_with_error(
    error: BaseException,
    debug: bool,
    stopped: str = "Stopped. The same command goes on where it was.",
) -> NoReturn:
    """Leave the process.

    Args:
        error: What went wrong, or the interruption.
        debug: Whether to show the traceback too.
        stopped: What to say after an interruption.
    """
    if isinstance(error, (typer.Exit, typer.Abort)):
        raise error
    if debug:
        _stderr.print_exception()
    if isinstance(error, KeyboardInterrupt):
        _line(stopped)
        sys.exit(INTERRUPTED)
    if isinstance(error, ModelCallError) and error.kind == "budget_spent":
        _line(f"Stopped: {error}")
        sys.exit(error.exit_code)
    if isinstance(error, AgentRecError):
        _line(f"error: {error}")
        sys.exit(error.exit_code)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        _line(f"error: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        sys.exit(InputError.exit_code)
    _line(f"error: {type(error).__name__}: {error} (--debug shows the traceback)")
    sys.exit(1)


def _line(text: str) -> None:
    _stderr.print(
        " ".join(text.split()), style="red", markup=False, highlight=False, soft_wrap=True
    )
