"""Which policy goes live: only one that is certainly better than no hint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from agentrec.contracts import HintPolicy
from agentrec.evaluation.intervals import Interval, bootstrap_intervals
from agentrec.hint_offers import RewardedOffer

NO_HINT = "no_hint"
"""Name of what is live where nothing passed."""

_TIE = 1e-9


class GatedCandidate(BaseModel):
    """What one policy brought on the held-out sessions.

    Attributes:
        name: Its name.
        gain: Mean of the reward with its choices minus that of no hint, -1 to 1, with its
            bootstrap interval over sessions.
        changed: Number of sessions on which its choice brought anything, good or bad.
        passed: Whether it is certainly better than no hint.
        fallback: Whether it counts only if no wanted policy passes.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    gain: Interval
    changed: int = Field(ge=0)
    passed: bool
    fallback: bool = False


class GateVerdict(BaseModel):
    """Which policy goes live, and why; ``model_dump_json`` gives the file's content.

    Attributes:
        live: Name of the policy that goes live, ``"no_hint"`` for none.
        wanted: Name of the preferred policy.
        wanted_passed: Whether that one passed.
        candidates: Every candidate, in order of preference, fallbacks last.
        sessions: How many held-out sessions every number is over.
        level: Level of the intervals.
        least_changed: Fewer changed sessions than this prove nothing at this level.
    """

    model_config = ConfigDict(frozen=True)

    live: str
    wanted: str
    wanted_passed: bool
    candidates: tuple[GatedCandidate, ...] = Field(min_length=1)
    sessions: int = Field(ge=1)
    level: float = Field(gt=0, lt=1)
    least_changed: int = Field(ge=1)

    @property
    def sentence(self) -> str:
        """The verdict in a sentence; names stand in it as they were given."""
        first = self.candidates[0]
        gained = self._gained(first)
        if self.wanted_passed:
            return f"{gained}: it goes live."
        if first.gain.low > 0:
            why = f"it changed only {first.changed} of them, and {self.least_changed} are needed"
        elif first.gain.high < 0:
            why = "it is certainly worse than no hint"
        else:
            why = "it is not certainly better than no hint"
        instead = "no hint is given" if self.live == NO_HINT else f"{self.live} goes live"
        return f"{gained}: {why}; {instead} instead."

    def lines(self) -> list[str]:
        """Return the sentence, and one line for each of the other candidates."""
        return [self.sentence] + [
            f"{self._gained(one)}: {'passed' if one.passed else 'did not pass'}"
            + (", live." if one.name == self.live else ".")
            for one in self.candidates[1:]
        ]

    def _gained(self, one: GatedCandidate) -> str:
        gain = one.gain
        return (
            f"{one.name} gains {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] over no hint "
            f"on {self.sessions} validation session{'s' * (self.sessions != 1)}"
        )


class NoRegretGate:
    """Lets a policy live only if the lower end of its gain's interval is above 0.

    A worthless policy passes with a probability of about ``(1 - level) / 2``; of ``k`` such, at
    least one does with up to ``k`` times that, so name few. A percentile interval is too narrow
    where few sessions differ from no hint. Hence a second condition: so many differ that luck alone
    would seldom make all of them better, ``2**-n <= (1 - level) / 2``; that is 6 at 0.95.

    Args:
        level: Share of the draws inside the interval, between 0 and 1.
        resamples: Draws of the bootstrap, at least 1.
        seed: Same seed and sessions: same verdict.

    Raises:
        ValueError: If an option is out of range.
    """

    def __init__(self, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> None:
        if not 0 < level < 1:
            raise ValueError(f"level lies between 0 and 1, not {level}")
        if resamples < 1:
            raise ValueError(f"resamples is at least 1, not {resamples}")
        self.level = level
        self.resamples = resamples
        self.seed = seed

    @property
    def least_changed(self) -> int:
        """How many sessions have to differ from no hint for a policy to pass."""
        # Of 2 / (1 - 0.9375), which is 32, rounding could make a hair more.
        return math.ceil(math.log2(2 / (1 - self.level)) - 1e-9)

    def judge(
        self,
        policies: Mapping[str, HintPolicy],
        held_out: RewardedOffer,
        *,
        fallbacks: Mapping[str, HintPolicy] | None = None,
    ) -> GateVerdict:
        """Pick what goes live.

        The first of ``policies`` that passes; else, of the fallbacks that pass, the one with the
        highest lower end, of equals the first; else no hint.

        Args:
            policies: The wanted policies by name, the preferred one first; at least one.
            held_out: Validation sessions that neither trained nor picked a policy: not those that
                picked the iteration of PPO or the best single hint. A policy that was picked by
                these very sessions looks better on them than it is.
            fallbacks: What may go live if none of these passes.

        Raises:
            ValueError: If there is no policy or no session, a name comes twice, or a policy chose
                a hint that was not measured.
        """
        spare = dict(fallbacks or {})
        if not policies:
            raise ValueError("there is no policy to judge")
        if twice := sorted(set(policies) & set(spare)):
            raise ValueError(f"wanted and fallback at once: {', '.join(twice)}")
        if not len(held_out):
            raise ValueError("there is no validation session to judge by")
        everyone = {**policies, **spare}
        gains = np.stack(
            [_gains(name, policy, held_out) for name, policy in everyone.items()], axis=1
        )
        # The same draws of sessions for all, so that candidates compare.
        intervals = bootstrap_intervals(
            gains, seed=self.seed, resamples=self.resamples, level=self.level
        )
        changed = (np.abs(gains) > _TIE).sum(axis=0).tolist()
        candidates = tuple(
            GatedCandidate(
                name=name,
                gain=gain,
                changed=count,
                passed=gain.low > 0 and count >= self.least_changed,
                fallback=name in spare,
            )
            for name, gain, count in zip(everyone, intervals, changed, strict=True)
        )
        return GateVerdict(
            live=_live(candidates),
            wanted=candidates[0].name,
            wanted_passed=candidates[0].passed,
            candidates=candidates,
            sessions=len(held_out),
            level=self.level,
            least_changed=self.least_changed,
        )


def _gains(name: str, policy: HintPolicy, held_out: RewardedOffer) -> npt.NDArray[np.float64]:
    """What the choices brought over no hint, whose reward is 0, ``[sessions]``."""
    gained = held_out.gained(policy.choose(held_out.offer)).astype(np.float64)
    unknown = int(np.isnan(gained).sum())
    if unknown:
        raise ValueError(
            f"{name} chose hints without a measured reward on {unknown} of {len(gained)} "
            "validation sessions"
        )
    return gained


def _live(candidates: tuple[GatedCandidate, ...]) -> str:
    passed = [one for one in candidates if one.passed]
    wanted = [one for one in passed if not one.fallback]
    if wanted:
        return wanted[0].name
    # `max` takes the first of equals.
    return max(passed, key=lambda one: one.gain.low).name if passed else NO_HINT
