"""The `agentrec` command with a model that answers at once: what is measured is all the rest.

Run as a program it takes the arguments of `agentrec`, whatever model they name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """What a process came to.

    Attributes:
        code: Its exit code.
        output: What it printed.
        seconds: How long it lived.
        cpu: Seconds that it computed.
        peak: The most memory that it had, in MiB.
    """

    code: int
    output: str
    seconds: float
    cpu: float
    peak: float


def instant(arguments: Sequence[object], log: Path, cache: Path) -> Ended:
    """Run the command to its end.

    Args:
        arguments: Those of `agentrec`.
        log: File that what it prints is put into.
        cache: Where it keeps what it made of a catalogue.
    """
    own = os.environ.items()
    environment = {name: value for name, value in own if "AGENTREC_BENCH" not in name}
    environment |= {"AGENTREC_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(_folders())}
    start = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.instant_command", *map(str, arguments)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        process.returncode,
        log.read_text(errors="replace"),
        time.perf_counter() - start,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
    )


def _folders() -> list[str]:
    tests = Path(__file__).parent.parent
    return [str(tests.parent), str(tests)]


def _main() -> None:
    from benchmarks.recommending_parts import InstantModel

    from agentrec.app.cli.main import main
    from agentrec.named_components import NamedModel
    from agentrec.runs import open_run

    open_run.model_of_settings = lambda llm: NamedModel(InstantModel(), "instant")
    main()


if __name__ == "__main__":
    _main()
