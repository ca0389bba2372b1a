"""Statistics of a collection of preference pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from agentrec.preferences import PreferencePair

LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

_MOST_NAMES = 20


class Distribution(BaseModel):
    """The distribution of some numbers.

    Attributes:
        count: How many numbers there are.
        mean: Their mean; 0 if there are none.
        quantiles: The quantiles at ``LEVELS``, from minimum to maximum; empty if there are none.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    mean: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """Compute the distribution of finite numbers, in any order."""
        if not numbers:
            return cls(count=0, mean=0.0, quantiles=())
        values = np.asarray(numbers, dtype=np.float64)
        quantiles = np.quantile(values, LEVELS)
        return cls(
            count=len(values),
            # The sum of very large numbers could overflow.
            mean=float(np.clip(np.mean(values / len(values)) * len(values), *quantiles[[0, -1]])),
            quantiles=tuple(quantiles.tolist()),
        )


class PairStatistics(BaseModel):
    """Statistics of a collection of pairs.

    Attributes:
        pairs: Number of pairs.
        kinds: Number of pairs of each kind.
        sessions: Number of sessions.
        users: Number of known users.
        unknown_users: Number of pairs whose user is unknown.
        most_of_a_user: Number of pairs of the user with the most.
        refusals: Number of sessions without a pair by reason, the most frequent first.
        gap: Chosen minus rejected value, 0 to 1, of reward pairs.
        ties: Number of reward pairs whose gap is 0, so that only the margins differ.
        margin_gap: Chosen minus rejected margin, in nats, of reward pairs.
        chosen_value: Reward of the chosen texts of reward pairs, 0 to 1.
        rejected_value: Reward of their rejected texts, 0 to 1.
        prompt_length: Characters of the prompts.
        chosen_length: Characters of the chosen texts.
        rejected_length: Characters of the rejected texts.
        chosen_longer: Share of reward pairs, 0 to 1, whose chosen text is the longer one. Far from
            one half, a model would learn lengths.
        broken: Number of structure pairs by how their format was broken.
        origins: Number of pairs by language model, reward model, prompt hash, temperature, number
            of samples, seed and run; the 20 most frequent of each.
    """

    model_config = ConfigDict(frozen=True)

    pairs: int
    kinds: Mapping[str, int]
    sessions: int
    users: int
    unknown_users: int
    most_of_a_user: int
    refusals: Mapping[str, int]
    gap: Distribution
    ties: int
    margin_gap: Distribution
    chosen_value: Distribution
    rejected_value: Distribution
    prompt_length: Distribution
    chosen_length: Distribution
    rejected_length: Distribution
    chosen_longer: float
    broken: Mapping[str, int]
    origins: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, pairs: Iterable[PreferencePair], refusals: Mapping[str, int] | None = None) -> Self:
        """Compute the statistics of pairs.

        Args:
            pairs: The pairs; an iterator is read once and not kept.
            refusals: Number of sessions that gave no pair, by reason.
        """
        counted = _Counted()
        for pair in pairs:
            counted.add(pair)
        chosen = counted.numbers["chosen_length"]
        rewarded = counted.kinds["reward"]
        users = counted.users
        return cls(
            pairs=len(chosen),
            kinds=_most(counted.kinds),
            sessions=len(counted.sessions),
            users=len(users),
            unknown_users=len(chosen) - users.total(),
            most_of_a_user=max(users.values(), default=0),
            refusals=_most(Counter(refusals or {})),
            ties=counted.ties,
            chosen_longer=counted.longer / rewarded if rewarded else 0.0,
            broken=_most(counted.broken),
            origins={name: _most(of, _MOST_NAMES) for name, of in counted.origins.items()},
            **{name: Distribution.of(values) for name, values in counted.numbers.items()},
        )


_NUMBERS = (
    "gap",
    "margin_gap",
    "chosen_value",
    "rejected_value",
    "prompt_length",
    "chosen_length",
    "rejected_length",
)
_ORIGINS = ("model", "reward_model", "prompt_hash", "temperature", "samples", "seed", "run")


@dataclass
class _Counted:
    kinds: Counter[str] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)
    users: Counter[str] = field(default_factory=Counter)
    ties: int = 0
    longer: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _NUMBERS})
    origins: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in _ORIGINS}
    )

    def add(self, pair: PreferencePair) -> None:
        self.kinds[pair.kind] += 1
        self.sessions.add(pair.session_id)
        if pair.user_id:
            self.users[pair.user_id] += 1
        better, worse, gap = pair.chosen_reward, pair.rejected_reward, pair.gap
        if pair.kind == "reward" and worse is not None and gap is not None:
            self.ties += gap == 0
            self.longer += len(pair.chosen) > len(pair.rejected)
            self._add("gap", gap)
            self._add("margin_gap", better.margin - worse.margin)
            self._add("chosen_value", better.value)
            self._add("rejected_value", worse.value)
        elif pair.provenance.broken:
            self.broken[pair.provenance.broken] += 1
        self._add("prompt_length", sum(len(turn.content) for turn in pair.prompt))
        self._add("chosen_length", len(pair.chosen))
        self._add("rejected_length", len(pair.rejected))
        for name, counted in self.origins.items():
            value = getattr(pair.provenance, name)
            counted["" if value is None else str(value)] += 1

    def _add(self, name: str, number: float) -> None:
        self.numbers[name].append(number)


def _most(counted: Counter[str], limit: int | None = None) -> dict[str, int]:
    """Sort by frequency, the highest first, then by name."""
    ordered = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    return dict(ordered[:limit])
