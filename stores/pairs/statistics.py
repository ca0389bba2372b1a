"""What a collection of preference pairs is like, in numbers."""

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
    """How some numbers are distributed.

    Attributes:
        count: How many there are.
        mean: Their mean; 0 where there are none.
        quantiles: The quantiles at ``LEVELS``, the smallest and the largest included; empty where
            there are none.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    mean: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """The distribution of finite numbers, in any order."""
        if not numbers:
            return cls(count=0, mean=0.0, quantiles=())
        values = np.asarray(numbers, dtype=np.float64)
        quantiles = np.quantile(values, LEVELS)
        return cls(
            count=len(values),
            # Of numbers near the largest there are, a sum may be none.
            mean=float(np.clip(np.mean(values / len(values)) * len(values), *quantiles[[0, -1]])),
            quantiles=tuple(quantiles.tolist()),
        )


class PairStatistics(BaseModel):
    """Numbers of a collection of pairs.

    Attributes:
        pairs: How many pairs.
        kinds: How many of each kind.
        sessions: Of how many sessions.
        users: Of how many users, those that are known.
        unknown_users: How many pairs nobody knows the user of.
        most_of_a_user: How many pairs come from the user with the most.
        refusals: Why sessions gave no pair, and how many, the most frequent first.
        gap: Chosen minus rejected value, 0 to 1, of reward pairs.
        ties: How many reward pairs have no gap and differ by their margins alone.
        margin_gap: Chosen minus rejected margin, in nats, of reward pairs.
        chosen_value: What chosen texts of reward pairs are worth, 0 to 1.
        rejected_value: The same of rejected ones.
        prompt_length: Characters of the prompts.
        chosen_length: Characters of the chosen texts.
        rejected_length: The same of the rejected ones.
        chosen_longer: Share of reward pairs, 0 to 1, whose chosen text is the longer one; far
            from one half, a model learns lengths.
        broken: How structure pairs were broken, and how many.
        origins: How many pairs by language model, reward model, prompt hash, temperature, number
            of samples, seed and run; of each the 20 most frequent.
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
        """Count.

        Args:
            pairs: The pairs; an iterator is read once and not kept.
            refusals: For each reason how many sessions gave no pair.
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
    """The most frequent first, of equal ones by name."""
    ordered = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    return dict(ordered[:limit])
