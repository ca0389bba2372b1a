"""Commands that are killed at drawn moments and begun again, as by power cuts."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STARTING = "start-up"
"""The phase of a process that has not begun to work."""

_POLL_SECONDS = 0.005
_LIMIT_SECONDS = 1800


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a phase has begun, whatever the phase is by then."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class Life:
    """One process, from its beginning to its end.

    Attributes:
        killed: Whether it was killed before it ended by itself.
        begun: After how many seconds it was first seen in each phase, in order.
        seconds: How long it lived.
    """

    killed: bool
    begun: Mapping[str, float]
    seconds: float

    @property
    def phase(self) -> str:
        """The last one that it was seen in."""
        return [STARTING, *self.begun][-1]

    @property
    def start_up(self) -> float:
        """Seconds before it began to work."""
        return min(self.begun.values(), default=self.seconds)

    @property
    def durations(self) -> dict[str, float]:
        """Seconds in each phase."""
        ends = [*list(self.begun.values())[1:], self.seconds]
        return {
            name: end - begun for (name, begun), end in zip(self.begun.items(), ends, strict=True)
        }


def live(
    arguments: Sequence[object],
    log: Path,
    phase: Callable[[], str],
    moment: Moment | None = None,
) -> Life:
    """Run `agentrec` until it ends well or is killed.

    Args:
        arguments: Its arguments.
        log: File that what it prints is put into.
        phase: Says what it is doing, as seen from outside; asked every few milliseconds.
        moment: When to kill it; ``None`` for never.
    """
    command = [str(Path(sys.executable).parent / "agentrec"), *map(str, arguments)]
    seen: dict[str, float] = {}
    start = time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        while process.poll() is None:
            now = time.monotonic() - start
            if (doing := phase()) != STARTING:
                seen.setdefault(doing, now)
            wanted = seen.get(moment.phase) if moment else None
            if moment and wanted is not None and now - wanted >= moment.seconds:
                process.kill()
            elif now > _LIMIT_SECONDS:
                process.kill()
                raise TimeoutError(log.read_text())
            else:
                time.sleep(_POLL_SECONDS)
    assert process.returncode in (0, -signal.SIGKILL), log.read_text()
    return Life(process.returncode != 0, seen, time.monotonic() - start)


def drawn_moments(
    phases: Sequence[str], whole: Life, rounds: int, draws: random.Random
) -> list[Moment]:
    """Moments in rounds, each of one moment a phase.

    Args:
        phases: The phases of a round, in order. One that is named several times is cut in as many
            parts, so that a life that goes on with it is likely to be killed in it too.
        whole: An uninterrupted life.
        rounds: How many rounds.
        draws: Where chance comes from.

    Returns:
        Round after round. Of a phase, the moments of all rounds are spread over all of its time.
    """
    parts = Counter(phases)
    strata = {phase: draws.sample(range(rounds), rounds) for phase in parts}
    return [
        Moment(
            phase,
            whole.durations[phase] * (strata[phase][at] + draws.random()) / rounds / parts[phase],
        )
        for at in range(rounds)
        for phase in phases
    ]


def lives_until(
    moments: Sequence[Moment], in_round: int, begin: Callable[[int, Moment | None], Life]
) -> Iterator[tuple[int, Life]]:
    """Have work done again and again, killed at each of the moments once.

    What was killed is begun again until it ends, and as long as moments are left, it then begins
    anew.

    Args:
        moments: When to kill.
        in_round: After how many kills the work is let end.
        begin: Begins or goes on with the work of a number; given that and when to kill.

    Yields:
        The number of the work, from 1, and a life; the last of each number was not killed.
    """
    left, number = list(moments), 0
    while left:
        number += 1
        for at in range(in_round + 1):
            life = begin(number, left[0] if left and at < in_round else None)
            yield number, life
            if not life.killed:
                break
            left.pop(0)
        if at == 0:
            # Even all of the work is over sooner than it was when it was measured.
            left[0] = Moment(left[0].phase, 0.8 * left[0].seconds)
