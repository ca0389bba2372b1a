"""What a command about a knowledge base has to say: to people, or as one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import get_args

from rich.console import Console

from agentrec.app.cli.options import exit_with_error
from agentrec.catalog import clean_text
from agentrec.errors import InputError
from agentrec.hints import STATES, Hint, HintState


@dataclass(frozen=True)
class Answer:
    """What a command found or did.

    Attributes:
        record: JSON values.
        show: Prints the same for people.
    """

    record: Mapping[str, object]
    show: Callable[[Console], None]

    def tell(self, as_json: bool) -> None:
        """Print it on standard output."""
        if as_json:
            # ASCII alone: nothing in a hint can steer a terminal.
            sys.stdout.write(json.dumps(self.record) + "\n")
        else:
            self.show(Console())


def ending(debug: bool) -> AbstractContextManager[None]:
    """Let a command that fails or is interrupted end with one line."""
    return exit_with_error(debug, stopped="Stopped. What was stored stays stored.")


def say(console: Console, line: str) -> None:
    """Print one line in which nothing is markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def states_of(name: str) -> tuple[HintState, ...]:
    """The states that ``--state`` stands for.

    Raises:
        InputError: If it is none of them, nor ``all``.
    """
    if name == "all":
        return STATES
    found = tuple(state for state in get_args(HintState) if state == name)
    if not found:
        raise InputError(f"{name!r} is none of {', '.join(STATES)}, all", field="state")
    return found


def hint_of(hints: Sequence[Hint], given: str) -> Hint:
    """The one hint whose id begins as a person typed it.

    Raises:
        InputError: If there is none, or there are several.
    """
    wanted = given.strip().lower()
    found = [hint for hint in hints if wanted and hint.hint_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    shown = clean_text(given, 40)
    if not found:
        raise InputError(f"there is no hint {shown!r} in this knowledge base", field="hint")
    ids = ", ".join(hint.hint_id for hint in found[:3])
    more = ", ..." if len(found) > 3 else ""
    raise InputError(f"{shown!r} may be {ids}{more}; give more of the id", field="hint")
