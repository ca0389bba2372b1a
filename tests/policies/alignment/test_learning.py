"""Tuning learns a planted taste, on sessions it never saw, and learns nothing from noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from app.planted_pairs import planted_pairs, world
from embedded_model import planted

from agentrec.embedded_model.decoding import Sampling, rank_candidates
from agentrec.embedded_model.folder import load_model
from agentrec.policies.alignment.config import AlignmentConfig
from agentrec.policies.alignment.training import Alignment, align
from agentrec.policies.alignment.tuning_evaluation import judge

HELD_OUT = planted_pairs(24, start=1000)


def test_dpo_prefers_what_was_chosen_on_other_sessions(taught: Path, tuned: Alignment) -> None:
    told = judge(HELD_OUT, taught, tuned.folder)
    assert told.accuracy.mean == 1.0
    assert told.margin.low > 0.1
    assert told.chosen_gain.low > max(1.0, told.rejected_gain.high)
    assert (told.pairs, told.sessions, told.left_out) == (24, 24, {})


def test_fine_tuning_on_the_chosen_does_too(
    taught: Path, small: AlignmentConfig, tmp_path: Path
) -> None:
    config = small.model_copy(update={"method": "rft"})
    done = align(planted_pairs(48), taught, tmp_path / "rft", config)
    told = judge(HELD_OUT, taught, done.folder)
    assert told.chosen_gain.low > max(1.0, told.rejected_gain.high)
    assert {point.margin for point in done.points} == {None}


def test_shuffled_labels_teach_nothing(taught: Path, tmp_path: Path) -> None:
    # Without the likelihood of the chosen texts, which is learnt from any label; and all pairs in
    # every step, or what the last ones were labelled would weigh more.
    config = AlignmentConfig(
        nll_weight=0.0, eval_share=0.0, batch_size=48, epochs=5, learning_rate=1e-3
    )
    by_lot = planted_pairs(48, shuffled=True)
    # The same lot turned round: what one half of the pairs happens to say cancels out.
    turned = [
        one.model_copy(update={"chosen": one.rejected, "rejected": one.chosen}) for one in by_lot
    ]
    margins = []
    for name, pairs in (("taste", planted_pairs(48)), ("lot", by_lot), ("turned", turned)):
        out = tmp_path / name
        align(pairs, taught, out, config)
        margins.append(judge(HELD_OUT, taught, out).margin)
    taste, *lots = margins
    assert taste.low > 0.1
    assert abs(sum(one.mean for one in lots)) / 2 < 0.1 * taste.mean
    assert all(one.mean < 0.5 * taste.mean for one in lots)


def test_the_model_still_ranks_as_it_did(taught: Path, tuned: Alignment) -> None:
    sessions = [world().session(seed, candidates=20) for seed in range(60)]
    prompts = [planted.compact(world(), planted.rank_prompt(world(), one)) for one in sessions]
    places = []
    for folder in (taught, tuned.folder):
        orders = rank_candidates(load_model(folder), prompts, [Sampling()] * len(prompts))
        places.append(np.argsort(orders, axis=1))
    likeness = [np.corrcoef(before, after)[0, 1] for before, after in zip(*places, strict=True)]
    assert np.mean(likeness) > 0.85


def test_items_and_handles_are_what_they_were(taught: Path, tuned: Alignment) -> None:
    before, after = load_model(taught), load_model(tuned.folder)
    first = before.vocabulary.first_item
    tables = [model.network.transformer.wte.weight[first:] for model in (before, after)]
    assert tables[0].equal(tables[1])
    places = [model.network.transformer.wpe.weight for model in (before, after)]
    assert places[0].equal(places[1])
