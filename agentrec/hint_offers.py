"""The hints that a policy chooses from for a batch of sessions, and its choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, overload

import numpy as np
import numpy.typing as npt

from agentrec.hints import Hint, HintChoice

NO_CANDIDATE = -1


@dataclass(frozen=True, eq=False)
class HintOffer:
    """The hints offered to each session of a batch. "No hint" is always offered and not listed.

    Attributes:
        states: Encoded sessions, float32, shape ``[batch, state_dim]``.
        hints: Every hint that any session is offered, each once.
        vectors: Their text vectors, float32 of length 1, shape ``[num_hints, dimension]``.
        candidates: Indices in ``hints`` of the hints offered to each session, int64, shape
            ``[batch, width]``; ``NO_CANDIDATE`` where there are fewer. No session is offered a
            hint twice.
        similarities: Cosine of each candidate's vector and the session's query, float32, shape
            ``[batch, width]``, -1 to 1; 0 where there is no candidate.

    Raises:
        ValueError: If a shape, an index or a value is not as above.
    """

    states: npt.NDArray[np.float32]
    hints: tuple[Hint, ...]
    vectors: npt.NDArray[np.float32]
    candidates: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.states.ndim != 2:
            raise ValueError(f"states have shape {list(self.states.shape)}, not [batch, state_dim]")
        if not bool(np.isfinite(self.states).all()):
            raise ValueError("states hold a value that is not finite")
        if len(set(self.hint_ids)) != len(self.hints):
            raise ValueError("hints name one hint twice")
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.hints):
            raise ValueError(
                f"vectors have shape {list(self.vectors.shape)}; "
                f"{len(self.hints)} hints need [{len(self.hints)}, dimension]"
            )
        shape = self.candidates.shape
        if len(shape) != 2 or shape[0] != len(self.states) or self.similarities.shape != shape:
            raise ValueError(
                f"candidates and similarities have shapes {list(shape)} and "
                f"{list(self.similarities.shape)}; {len(self.states)} sessions need "
                f"[{len(self.states)}, width] of both"
            )
        if self.candidates.size and not (
            self.candidates.min() >= NO_CANDIDATE and self.candidates.max() < len(self.hints)
        ):
            raise ValueError(
                f"candidates must be indices of {len(self.hints)} hints, or {NO_CANDIDATE}"
            )

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.states)

    @property
    def width(self) -> int:
        """Most hints that a session is offered."""
        return int(self.candidates.shape[1])

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Where there is a candidate, shape ``[batch, width]``."""
        present: npt.NDArray[np.bool_] = self.candidates != NO_CANDIDATE
        # Cached and shared, therefore read-only.
        present.setflags(write=False)
        return present

    @cached_property
    def hint_ids(self) -> tuple[str, ...]:
        """Ids of ``hints``, in order."""
        return tuple(hint.hint_id for hint in self.hints)

    @classmethod
    def of_all(
        cls,
        states: npt.NDArray[np.float32],
        hints: Sequence[Hint],
        vectors: npt.NDArray[np.float32] | None = None,
        queries: npt.NDArray[np.float32] | None = None,
    ) -> Self:
        """Offer all the hints to every session.

        Args:
            states: Shape ``[batch, state_dim]``.
            hints: The hints; a repeated one is offered once.
            vectors: Their text vectors, of any length, shape ``[num_hints, dimension]``; ``None``
                for zeros, which policies that do not use them accept.
            queries: Search vectors of the sessions, shape ``[batch, dimension]``; ``None`` for
                similarities of 0.
        """
        states = np.asarray(states, dtype=np.float32)
        first = {hint.hint_id: index for index, hint in reversed(list(enumerate(hints)))}
        kept = sorted(first.values())
        known = (
            np.zeros((len(hints), 1), dtype=np.float32) if vectors is None else unit_rows(vectors)
        )[kept]
        similarities = np.zeros((len(states), len(kept)), dtype=np.float32)
        if queries is not None and vectors is not None:
            similarities = np.asarray(unit_rows(queries) @ known.T, dtype=np.float32)
        candidates = np.tile(np.arange(len(kept), dtype=np.int64), (len(states), 1))
        return cls(states, tuple(hints[at] for at in kept), known, candidates, similarities)

    def nearest(self, count: int) -> Self:
        """Return an offer of only the most similar hints for each session, most similar first.

        Args:
            count: Most hints, at least 0.
        """
        order = np.argsort(
            np.where(self.present, -self.similarities, np.inf), axis=1, kind="stable"
        )[:, :count]
        return self._with(
            self.states,
            np.take_along_axis(self.candidates, order, axis=1),
            np.take_along_axis(self.similarities, order, axis=1),
        )

    def rows(self, indices: Sequence[int] | npt.NDArray[np.int64] | slice) -> Self:
        """Return the offer of some sessions, in the order given."""
        return self._with(
            self.states[indices], self.candidates[indices], self.similarities[indices]
        )

    def without(self, hint_ids: Sequence[str]) -> Self:
        """Return the offer without some hints."""
        gone = [index for index, hint in enumerate(self.hints) if hint.hint_id in set(hint_ids)]
        out = np.isin(self.candidates, gone)
        return self._with(
            self.states,
            np.where(out, NO_CANDIDATE, self.candidates),
            np.where(out, np.float32(0), self.similarities),
        )

    def with_states(self, states: npt.NDArray[np.float32]) -> Self:
        """Return the same offer with other session states."""
        return self._with(states, self.candidates, self.similarities)

    def _with(
        self,
        states: npt.NDArray[np.float32],
        candidates: npt.NDArray[np.int64],
        similarities: npt.NDArray[np.float32],
    ) -> Self:
        return type(self)(states, self.hints, self.vectors, candidates, similarities)


@dataclass(frozen=True, eq=False)
class HintChoices(Sequence[HintChoice]):
    """A policy's choice for each session of an offer, as a sequence of ``HintChoice``.

    Attributes:
        offer: The offer.
        options: 0 for no hint, else 1 + the column of the chosen candidate, int64, ``[batch]``.
        log_probabilities: Natural log of the probability of each choice, at most 0, ``[batch]``.
        values: The policy's expected reward of each session, -1 to 1, ``[batch]``.
        scores: The policy's score of every option, higher is better, ``[batch, 1 + width]``.
            Column 0 is no hint, column ``1 + c`` candidate ``c``; ``-inf`` where there is no
            candidate. Scores of different policies are not comparable.

    Raises:
        ValueError: If a shape is not as above, or an option is not on offer.
    """

    offer: HintOffer
    options: npt.NDArray[np.int64]
    log_probabilities: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        batch, width = len(self.offer), self.offer.width
        for name in ("options", "log_probabilities", "values"):
            if getattr(self, name).shape != (batch,):
                raise ValueError(f"{name} have shape {list(getattr(self, name).shape)}")
        if self.scores.shape != (batch, 1 + width):
            raise ValueError(
                f"scores have shape {list(self.scores.shape)}, not {[batch, 1 + width]}"
            )
        taken = np.concatenate([np.zeros((batch, 1), np.int64), self.offer.candidates], axis=1)
        if batch and (
            self.options.min() < 0
            or self.options.max() > width
            or (taken[np.arange(batch), self.options] == NO_CANDIDATE).any()
        ):
            raise ValueError("an option was chosen that is not on offer")

    @property
    def hint_ids(self) -> list[str | None]:
        """Id of the chosen hint of each session; ``None`` for no hint."""
        ids: list[str | None] = [*self.offer.hint_ids, None]
        return [ids[index] for index in self.hint_indices.tolist()]

    @property
    def hint_indices(self) -> npt.NDArray[np.int64]:
        """Indices of the chosen hints in ``offer.hints``, -1 for no hint, ``[batch]``."""
        padded = np.concatenate(
            [np.full((len(self.options), 1), NO_CANDIDATE), self.offer.candidates], axis=1
        )
        indices: npt.NDArray[np.int64] = padded[np.arange(len(padded)), self.options]
        return indices

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.options)

    def __iter__(self) -> Iterator[HintChoice]:
        """Yield the choices in the order of the sessions."""
        columns = (self.log_probabilities.tolist(), self.values.tolist())
        for hint_id, log_probability, value in zip(self.hint_ids, *columns, strict=True):
            yield HintChoice(hint_id=hint_id, log_probability=log_probability, value=value)

    @overload
    def __getitem__(self, index: int) -> HintChoice: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[HintChoice]: ...
    def __getitem__(self, index: int | slice) -> HintChoice | Sequence[HintChoice]:
        """Return the choice of one session, or of some."""
        if isinstance(index, slice):
            return list(self)[index]
        option = int(self.options[index])
        candidate = int(self.offer.candidates[index, option - 1]) if option else NO_CANDIDATE
        return HintChoice(
            hint_id=None if candidate == NO_CANDIDATE else self.offer.hint_ids[candidate],
            log_probability=float(self.log_probabilities[index]),
            value=float(self.values[index]),
        )

    def scores_of(self, session: int) -> dict[str | None, float]:
        """Return the score of every option of one session, by hint id, best first."""
        of_none, *of_candidates = self.scores[session].tolist()
        scored: dict[str | None, float] = {None: of_none}
        candidates = self.offer.candidates[session].tolist()
        for candidate, score in zip(candidates, of_candidates, strict=True):
            if candidate != NO_CANDIDATE:
                scored[self.offer.hint_ids[candidate]] = score
        return dict(sorted(scored.items(), key=lambda item: (-item[1], item[0] or "")))


def choose_best(
    offer: HintOffer,
    scores: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32] | None = None,
) -> HintChoices:
    """Choose the option with the best score for every session, with probability 1.

    Of equal scores no hint wins over a hint, and the smaller id over the larger one: the order in
    which hints are listed decides nothing.

    Args:
        offer: The offer.
        scores: Scores of no hint and each candidate, shape ``[batch, 1 + width]``; values where
            there is no candidate are ignored.
        values: Expected reward of each session, ``[batch]``; ``None`` for 0.
    """
    scores = masked(offer, scores)
    is_best = scores == scores.max(axis=1, keepdims=True)
    options = is_best.argmax(axis=1)
    # argmax prefers no hint, which is right; among hints it may prefer a larger id.
    if np.count_nonzero(is_best[options > 0]) > np.count_nonzero(options):
        by_id = np.argsort(np.argsort(np.array(offer.hint_ids, dtype=np.str_), kind="stable"))
        order = np.concatenate([by_id + 1, [len(by_id) + 1]])[offer.candidates]
        preference = np.concatenate([np.zeros((len(scores), 1), np.int64), order], axis=1)
        options = np.where(is_best, preference, len(by_id) + 2).argmin(axis=1)
    batch = len(offer)
    return HintChoices(
        offer,
        options,
        np.zeros(batch, dtype=np.float32),
        np.zeros(batch, dtype=np.float32) if values is None else values,
        scores,
    )


def masked(offer: HintOffer, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return scores ``[batch, 1 + width]`` with ``-inf`` where there is no candidate."""
    of_present = np.array(scores, dtype=np.float32)
    of_present[:, 1:][~offer.present] = -np.inf
    return of_present


def unit_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows scaled to length 1; a row of zeros stays as it is."""
    rows = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class RewardedOffer:
    """An offer and the reward of each of its options.

    Attributes:
        offer: The sessions and the hints offered to each.
        rewards: Reward of every option, float32, shape ``[batch, 1 + width]``: NDCG@10 with the
            option minus without, -1 to 1, unless it was shaped in another way. Column 0, no
            hint, is 0. NaN where there is no candidate, or no measurement.

    Raises:
        ValueError: If the shape or a value is not as above.
    """

    offer: HintOffer
    rewards: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.offer), 1 + self.offer.width)
        if self.rewards.shape != shape:
            raise ValueError(f"rewards have shape {list(self.rewards.shape)}, not {list(shape)}")
        if not bool((self.rewards[:, 0] == 0).all()):
            raise ValueError("the reward of no hint must be 0")
        if bool((np.isfinite(self.rewards[:, 1:]) & ~self.offer.present).any()):
            raise ValueError("a reward belongs to no candidate")
        if bool(np.isinf(self.rewards).any()):
            raise ValueError("rewards hold a value that is not finite")

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.offer)

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which rewards are measured, shape ``[batch, 1 + width]``."""
        known: npt.NDArray[np.bool_] = np.isfinite(self.rewards)
        return known

    def rows(self, indices: Sequence[int] | npt.NDArray[np.int64] | slice) -> Self:
        """Return some of the sessions, in the order given."""
        return type(self)(self.offer.rows(indices), self.rewards[indices])

    def gained(self, choices: HintChoices) -> npt.NDArray[np.float32]:
        """Return the rewards of choices on this very offer, ``[batch]``; NaN where not measured."""
        if choices.offer is not self.offer:
            raise ValueError("the choices were made on another offer")
        gained: npt.NDArray[np.float32] = self.rewards[np.arange(len(self)), choices.options]
        return gained
