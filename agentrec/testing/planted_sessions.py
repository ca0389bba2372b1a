"""Planted sessions and rewards, whose best hints are known: tests that learning works."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintOffer, RewardedOffer, unit_rows
from agentrec.hints import Hint

KINDS = ("garden", "kitchen", "travel", "music")
THINGS = ("lamp", "chair", "basket", "clock", "mirror", "drum", "kettle", "carpet", "ladder")
EARLIEST, LATEST = 1960, 2020

Wish = Literal["late", "early"]

_HISTORY = 6
_OFF_TASTE = 0.15
_WISHED_FOR = 4


@dataclass(frozen=True)
class PlantedSessions:
    """The written data set, and the truth behind it.

    Attributes:
        folder: The folder, in the neutral format.
        wishes: By session id, the end of the scale at which its target lies: the later or
            the earlier items of its candidates. It follows from the history, whose items are
            mostly ``garden`` and ``kitchen`` (late) or ``travel`` and ``music`` (early).
        years: By item id, its year, the position on the scale, ``EARLIEST`` to ``LATEST``.
    """

    folder: Path
    wishes: Mapping[str, Wish]
    years: Mapping[str, int]


def write_planted_sessions(
    folder: Path,
    *,
    num_items: int = 120,
    num_train: int = 120,
    num_valid: int = 30,
    num_test: int = 30,
    num_candidates: int = 20,
    predictability: float = 1.0,
    titles_only: bool = False,
    seed: int = 0,
) -> PlantedSessions:
    """Write sessions whose targets cannot be guessed from similarity to the history.

    A history is mostly of one kind; candidates are of all kinds. The target is one of the four
    latest candidates where the history is of a kind that wishes for late items, else one of the
    four earliest. So "Prefer later years" helps one half of the sessions and harms the other, and
    the history shows to which half a session belongs.

    Args:
        folder: Where to write; missing folders are created, existing files replaced.
        num_items: Size of the catalogue, more than ``num_candidates`` + 6.
        num_train: Training sessions, at least 1.
        num_valid: Validation sessions, at least 1.
        num_test: Test sessions, at least 1.
        num_candidates: Candidates per session, at least 5.
        predictability: Share of targets that follow the rule, 0 to 1; the others are drawn
            uniformly from the candidates.
        titles_only: Leave the attributes out; titles alone then name an item's kind and its half
            of the scale (``modern`` or ``antique``).
        seed: Same seed, same files.

    Raises:
        ValueError: If a number is out of range.
    """
    if not 0 <= predictability <= 1:
        raise ValueError(f"predictability is from 0 to 1, not {predictability}")
    if num_candidates <= _WISHED_FOR or num_items <= num_candidates + _HISTORY:
        raise ValueError(
            f"num_candidates is at least {_WISHED_FOR + 1}, and num_items more than {_HISTORY}"
            f" above it; not {num_candidates} and {num_items}"
        )
    generator = np.random.default_rng(seed)
    item_ids = [f"i{number}" for number in range(num_items)]
    kinds = {item_id: KINDS[n % len(KINDS)] for n, item_id in enumerate(item_ids)}
    drawn = generator.integers(EARLIEST, LATEST + 1, size=num_items).tolist()
    years = dict(zip(item_ids, drawn, strict=True))
    items = []
    for number, item_id in enumerate(item_ids):
        thing = THINGS[int(generator.integers(len(THINGS)))]
        kind, year = kinds[item_id], years[item_id]
        age = "modern" if year > (EARLIEST + LATEST) / 2 else "antique"
        said = {"title": f"{age.title()} {kind} {thing} {number}"}
        known = {"title": f"{thing.title()} {number}", "kind": kind, "year": year}
        items.append({"item_id": item_id, **(said if titles_only else known)})
    wishes: dict[str, Wish] = {}

    def session(session_id: str) -> Mapping[str, object]:
        taste = KINDS[int(generator.integers(len(KINDS)))]
        wish: Wish = "late" if taste in KINDS[:2] else "early"
        liking = np.array([1.0 if kinds[i] == taste else _OFF_TASTE / 3 for i in item_ids])
        history = generator.choice(item_ids, _HISTORY, replace=False, p=liking / liking.sum())
        rest = [item_id for item_id in item_ids if item_id not in history]
        candidates = generator.choice(rest, num_candidates, replace=False).tolist()
        ordered = sorted(candidates, key=lambda i: (years[i], i), reverse=wish == "late")
        follows = generator.random() < predictability
        among = ordered[:_WISHED_FOR] if follows else ordered
        wishes[session_id] = wish
        return {
            "session_id": session_id,
            "items": history.tolist(),
            "target": among[int(generator.integers(len(among)))],
            "candidates": candidates,
        }

    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "items.jsonl", items)
    for split, count in (("train", num_train), ("valid", num_valid), ("test", num_test)):
        records = [session(f"{split}-{number}") for number in range(count)]
        _write(folder / f"sessions.{split}.jsonl", records)
    return PlantedSessions(folder, wishes, years)


def _write(file: Path, records: Iterable[Mapping[str, object]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    file.write_text("".join(lines), encoding="utf-8", newline="\n")


_CANDIDATES = 50
_LIST_LENGTH = 10
_TASTES = 6
_BASE_NDCG = 0.2
_REACH = 0.4
_FLOOR = 0.02
_STATE_JITTER = 0.5


@dataclass(frozen=True, eq=False)
class PlantedRewards:
    """A made-up world in which the worth of each option is known.

    ``session_ids``, ``hint_ids`` and ``ndcg`` are just what a reward table is made of.

    Attributes:
        states: Encoded sessions, shape ``[num_sessions, state_dim]``.
        session_ids: One a row.
        hints: One for each of the columns ``1 .. num_hints``.
        vectors: Text vectors of the hints, of length 1, shape ``[num_hints, state_dim]``: they
            say which tastes a hint suits, in the space of the states.
        ndcg: The NDCG@10 as measured once, noise included, 0 to 1, shape
            ``[num_sessions, 1 + num_hints]``; column 0 is "no hint".
        expected_ndcg: The mean NDCG@10 behind each entry of the table, 0 to 1, shape
            ``[num_sessions, 1 + num_hints]``; column 0 is "no hint".
    """

    states: npt.NDArray[np.float32]
    session_ids: tuple[str, ...]
    hints: tuple[Hint, ...]
    vectors: npt.NDArray[np.float32]
    ndcg: npt.NDArray[np.float32]
    expected_ndcg: npt.NDArray[np.float32]

    @property
    def hint_ids(self) -> tuple[str, ...]:
        """The ids of ``hints``, in order."""
        return tuple(hint.hint_id for hint in self.hints)

    @property
    def expected_gains(self) -> npt.NDArray[np.float32]:
        """Expected NDCG@10 minus that of no hint, shape ``[num_sessions, 1 + num_hints]``."""
        gains: npt.NDArray[np.float32] = self.expected_ndcg - self.expected_ndcg[:, :1]
        return gains

    @property
    def best_options(self) -> npt.NDArray[np.int64]:
        """The best column of each session, 0 for no hint, shape ``[num_sessions]``."""
        best: npt.NDArray[np.int64] = self.expected_ndcg.argmax(axis=1)
        return best

    @property
    def optimal_gain(self) -> float:
        """Mean expected gain of a policy that always takes the best option, at least 0."""
        return float(self.expected_gains.max(axis=1).mean())

    def offer(self) -> HintOffer:
        """Every session is offered all the hints."""
        return HintOffer.of_all(self.states, self.hints, self.vectors, self.states)

    def rewarded(self) -> RewardedOffer:
        """The same with what was measured of each, noise included."""
        return RewardedOffer(self.offer(), self.ndcg - self.ndcg[:, :1])

    def gains_of(self, hint_ids: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Expected gain of each session under a chosen hint, ``None`` for no hint.

        Args:
            hint_ids: One choice a session, in order.

        Returns:
            Shape ``[num_sessions]``, -1 to 1.
        """
        column: dict[str | None, int] = {None: 0}
        column.update({hint_id: 1 + at for at, hint_id in enumerate(self.hint_ids)})
        options = [column[hint_id] for hint_id in hint_ids]
        gains: npt.NDArray[np.float32] = self.expected_gains[np.arange(len(options)), options]
        return gains

    def between(self, start: int, stop: int) -> PlantedRewards:
        """The sessions ``start .. stop - 1`` of the same world: a train or a test part."""
        return PlantedRewards(
            self.states[start:stop],
            self.session_ids[start:stop],
            self.hints,
            self.vectors,
            self.ndcg[start:stop],
            self.expected_ndcg[start:stop],
        )


def planted_rewards(
    num_sessions: int,
    num_hints: int,
    state_dim: int,
    signal: float,
    noise: float,
    seed: int,
) -> PlantedRewards:
    """Make sessions with hidden tastes, and hints that suit some tastes and harm others.

    Each state is a random linear image of a few hidden tastes plus jitter. A hint moves the mean
    NDCG@10 of a session up or down with its match to the tastes; most hints harm most sessions,
    as real ones do. A measurement is drawn around that mean: at full noise, the target takes one of
    50 ranks, tilted towards the first as much as the mean requires, so that an entry jumps between
    0 and 1.

    Args:
        num_sessions: How many, at least 1.
        num_hints: How many, at least 0.
        state_dim: Width of a state, at least 1.
        signal: How much tastes decide, 0 to 1; at 0 all options of a session are worth the same
            (see ``pure_noise_rewards``).
        noise: Share of an entry that is drawn, 0 (the exact mean) to 1 (one real-looking answer).
        seed: Same seed, same world.
    """
    if not 0 <= signal <= 1 or not 0 <= noise <= 1:
        raise ValueError(f"signal and noise lie in 0 to 1, not {signal} and {noise}")
    generator = np.random.default_rng(seed)
    tastes = generator.standard_normal((num_sessions, _TASTES))
    mixing = generator.standard_normal((_TASTES, state_dim)) / np.sqrt(_TASTES)
    jitter = _STATE_JITTER * generator.standard_normal((num_sessions, state_dim))
    states = (tastes @ mixing + jitter).astype(np.float32)

    wishes = generator.standard_normal((_TASTES, num_hints))
    wishes /= np.linalg.norm(wishes, axis=0, keepdims=True)
    match = np.tanh(tastes @ wishes - 0.5)
    moved = np.concatenate([np.zeros((num_sessions, 1)), match], axis=1)
    expected = np.clip(_BASE_NDCG + signal * _REACH * moved, _FLOOR, 1.0)

    drawn = _draw_ndcg(expected, generator)
    ndcg = (1 - noise) * expected + noise * drawn
    return PlantedRewards(
        states,
        tuple(f"session-{number}" for number in range(num_sessions)),
        tuple(Hint(text=f"Follow planted advice {number}.") for number in range(num_hints)),
        unit_rows((wishes.T @ mixing).astype(np.float32)),
        np.clip(ndcg, 0, 1).astype(np.float32),
        expected.astype(np.float32),
    )


def pure_noise_rewards(
    num_sessions: int, num_hints: int, state_dim: int, seed: int
) -> PlantedRewards:
    """Make a world in which no hint is worth anything, and measurements are noise.

    Args:
        num_sessions: How many, at least 1.
        num_hints: How many, at least 0.
        state_dim: Width of a state, at least 1.
        seed: Same seed, same world.
    """
    return planted_rewards(num_sessions, num_hints, state_dim, signal=0.0, noise=1.0, seed=seed)


def _draw_ndcg(
    means: npt.NDArray[np.float64], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw NDCG@10 values with the given means from exponentially tilted random ranks."""
    ranks = np.arange(1, _CANDIDATES + 1)
    worth = np.where(ranks <= _LIST_LENGTH, 1 / np.log2(ranks + 1), 0.0)
    tilts = np.linspace(-20, 40, 1201)
    weights = np.exp(tilts[:, None] * (worth - 1)[None, :])
    weights /= weights.sum(axis=1, keepdims=True)
    tilt_of_mean = np.interp(means, weights @ worth, tilts)
    cumulative = weights.cumsum(axis=1)
    row = np.rint((tilt_of_mean - tilts[0]) / (tilts[1] - tilts[0])).astype(np.int64)
    uniform = generator.random(means.shape)
    drawn = (uniform[..., None] > cumulative[row]).sum(axis=-1)
    values: npt.NDArray[np.float64] = worth[np.minimum(drawn, _CANDIDATES - 1)]
    return values
