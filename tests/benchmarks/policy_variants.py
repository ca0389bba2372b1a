"""Parts of the scoring policy taken away or put in, on rewards that are all measured already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agentrec.hint_offers import HintChoices, HintOffer, RewardedOffer, choose_best
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import ScoringPPOTrainer
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.policies.rewards.successive_halving import SuccessiveHalving
from agentrec.session_encoding.blocks import BLOCK_NAMES, DEFAULT_BLOCKS, BlockName

Floats = npt.NDArray[np.float32]
Gains = npt.NDArray[np.float32]
HELD_OUT = 0.2


@dataclass(frozen=True, eq=False)
class Split:
    """Sessions of a split, under every hint.

    Attributes:
        table: Their rewards.
        offer: Every hint to each of them, with states of every block there is.
        blocks: Where each block is in these states.
    """

    table: RewardTable
    offer: HintOffer
    blocks: Mapping[BlockName, slice]

    def seen(self, *blocks: BlockName) -> Split:
        """The same with states of some blocks alone."""
        parts = [self.offer.states[:, self.blocks[name]] for name in blocks]
        return replace(self, offer=self.offer.with_states(np.concatenate(parts, axis=1)))

    def nearest(self, count: int) -> Split:
        """The same with fewer hints on offer."""
        return replace(self, offer=self.offer.nearest(count))

    def without(self, hint_ids: list[str]) -> Split:
        """The same without some hints."""
        return replace(self, offer=self.offer.without(hint_ids))

    @property
    def rewarded(self) -> RewardedOffer:
        """What a policy is trained on."""
        return self.table.rewarded(self.offer)


@dataclass(frozen=True, eq=False)
class Measured:
    """All splits of one run."""

    train: Split
    valid: Split
    test: Split
    seed: int

    def each(self, change: Callable[[Split], Split]) -> Measured:
        """The same change to all splits."""
        return Measured(change(self.train), change(self.valid), change(self.test), self.seed)


def taught(data: Measured, train: RewardedOffer | None = None) -> PPOHintPolicy:
    """The scoring policy with its defaults; validation sessions pick among iterates."""
    return ScoringPPOTrainer().fit(
        data.train.rewarded if train is None else train, data.valid.rewarded, seed=data.seed
    )


def scoring_variants(everything: Measured) -> dict[str, Gains]:
    """The scoring policy as it is, and with parts taken away or put in: gains on test sessions."""
    default = everything.each(lambda split: split.seen(*DEFAULT_BLOCKS))
    test = default.test.rewarded
    policy = taught(default)
    choices = policy.choose(test.offer)
    found = {
        "as it is": test.gained(choices),
        "always a hint": test.gained(_best_hint(choices)),
    }
    for name in DEFAULT_BLOCKS:
        kept = tuple(block for block in DEFAULT_BLOCKS if block != name)
        found[f"state without {name}"] = _gains(everything.each(lambda s, k=kept: s.seen(*k)))  # type: ignore[misc]
    for name in BLOCK_NAMES:
        if name not in DEFAULT_BLOCKS:
            more = (*DEFAULT_BLOCKS, name)
            found[f"state and {name}"] = _gains(everything.each(lambda s, m=more: s.seen(*m)))  # type: ignore[misc]
    found["no state"] = _gains(
        default.each(lambda s: replace(s, offer=s.offer.with_states(s.offer.states * 0)))
    )
    for count in (3, 5, 10):
        found[f"nearest {count} hints"] = _gains(default.each(lambda s, c=count: s.nearest(c)))  # type: ignore[misc]
    return found


def halving_gains(everything: Measured) -> tuple[Gains, int]:
    """Trained on what successive halving measures, and how many calls that takes."""
    data = everything.each(lambda split: split.seen(*DEFAULT_BLOCKS))
    plan, table = SuccessiveHalving(seed=data.seed), data.train.table
    known = np.full_like(table.ndcg, np.nan)
    known[:, 0] = table.ndcg[:, 0]
    round_ = plan.first_round(len(table), len(table.hint_ids))
    while round_ is not None:
        for cell in round_.cells:
            known[cell] = table.ndcg[cell]
        sparse = RewardTable(table.session_ids, table.hint_ids, known)
        round_ = plan.next_round(round_, data.train.offer.states, sparse)  # type: ignore[assignment]
    policy = taught(data, sparse.rewarded(data.train.offer))
    test = data.test.rewarded
    return test.gained(policy.choose(test.offer)), int(np.isfinite(known).sum())


def held_out_gains(everything: Measured) -> tuple[dict[str, Gains], float]:
    """A fifth of the hints held out of training, then added; and how often one is chosen then."""
    data = everything.each(lambda split: split.seen(*DEFAULT_BLOCKS))
    ids = data.train.table.hint_ids
    generator = np.random.default_rng(data.seed)
    gone = [ids[at] for at in generator.permutation(len(ids))[: round(HELD_OUT * len(ids))]]
    fewer = data.each(lambda split: split.without(gone))
    policy = taught(fewer)
    before, after = fewer.test.rewarded, data.test.rewarded
    choices = policy.choose(after.offer)
    new = np.mean([hint_id in gone for hint_id in choices.hint_ids])
    return {
        "without them": before.gained(policy.choose(before.offer)),
        "added at test": after.gained(choices),
    }, float(new)


def _gains(data: Measured) -> Gains:
    test = data.test.rewarded
    return test.gained(taught(data).choose(test.offer))


def _best_hint(choices: HintChoices) -> HintChoices:
    """The hint with the best score, also where no hint has a better one."""
    scores = choices.scores.copy()
    scores[:, 0] = -np.inf
    return choose_best(choices.offer, scores)
