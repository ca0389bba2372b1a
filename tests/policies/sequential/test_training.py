"""Seeds, stopping, going on, and what cannot be trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agentrec.catalog import Catalog, Item
from agentrec.data import Dataset
from agentrec.policies.sequential.config import BackboneConfig, BackboneKind
from agentrec.policies.sequential.recommender import SequentialRecommender
from agentrec.policies.sequential.training import BackboneTrainer
from agentrec.sessions import Session

SHORT = BackboneConfig(dim=8, layers=1, epochs=6, learning_rate=0.01, batch_size=64)


class StoppedError(Exception):
    pass


class StopAt:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))
        if done == self.epoch:
            raise StoppedError


def fit(
    kind: BackboneKind,
    data: Dataset,
    config: BackboneConfig = SHORT,
    seed: int = 0,
    checkpoint: Path | None = None,
    on_progress: StopAt | None = None,
) -> SequentialRecommender:
    trainer = BackboneTrainer(kind, config, checkpoint, checkpoint_every=2)
    return trainer.fit(
        data.train[:100], data.valid, data.catalog, seed=seed, on_progress=on_progress
    )


def test_same_seed_same_parameters(kind: BackboneKind, world: Dataset) -> None:
    first, second, other = (fit(kind, world, seed=seed) for seed in (3, 3, 4))
    assert first.parameter_hash == second.parameter_hash != other.parameter_hash
    assert first.curve == second.curve
    assert len(first.curve) == 6


def test_a_stopped_training_goes_on_to_the_same_parameters(
    kind: BackboneKind, world: Dataset, tmp_path: Path
) -> None:
    whole = fit(kind, world)
    with pytest.raises(StoppedError):
        fit(kind, world, checkpoint=tmp_path, on_progress=StopAt(3))
    watch = StopAt(-1)
    resumed = fit(kind, world, checkpoint=tmp_path, on_progress=watch)
    assert [done for done, _ in watch.seen] == [3, 4, 5, 6]
    assert resumed.parameter_hash == whole.parameter_hash
    assert resumed.curve == whole.curve
    again = StopAt(-1)
    assert fit(kind, world, checkpoint=tmp_path, on_progress=again).curve == whole.curve
    assert again.seen == []


def test_a_checkpoint_of_another_training_is_passed_over(world: Dataset, tmp_path: Path) -> None:
    fit("sasrec", world, checkpoint=tmp_path)
    expected = fit("sasrec", world, seed=1)
    assert fit("sasrec", world, seed=1, checkpoint=tmp_path).parameter_hash == (
        expected.parameter_hash
    )
    longer = SHORT.model_copy(update={"epochs": 7})
    assert len(fit("sasrec", world, longer, checkpoint=tmp_path).curve) == 7
    assert len(fit("gru4rec", world, checkpoint=tmp_path).curve) == 6
    (tmp_path / "policy.json").write_text("{")
    assert len(fit("gru4rec", world, checkpoint=tmp_path).curve) == 6


def test_progress_counts_up_and_ends_at_the_end(kind: BackboneKind, world: Dataset) -> None:
    watch = StopAt(-1)
    patient = SHORT.model_copy(update={"epochs": 60, "patience": 2, "learning_rate": 0.1})
    recommender = fit(kind, world, patient, on_progress=watch)
    epochs = len(recommender.curve)
    assert epochs < 60
    assert watch.seen == [*((done, 60) for done in range(1, epochs + 1)), (60, 60)]


def test_the_best_epoch_is_kept(kind: BackboneKind, world: Dataset) -> None:
    config = SHORT.model_copy(update={"epochs": 12, "selection_window": 1, "learning_rate": 0.05})
    recommender = fit(kind, world, config)
    looks = [float(point.valid_ndcg or 0) for point in recommender.curve]
    best = int(np.argmax(looks)) + 1
    shorter = config.model_copy(update={"epochs": best})
    assert fit(kind, world, shorter).parameter_hash == recommender.parameter_hash


def test_without_validation_the_last_epoch_is_kept(kind: BackboneKind, world: Dataset) -> None:
    trainer = BackboneTrainer(kind, SHORT)
    recommender = trainer.fit(world.train[:100], (), world.catalog)
    assert [point.valid_ndcg for point in recommender.curve] == [None] * 6


def test_validation_sessions_teach_nothing(kind: BackboneKind, world: Dataset) -> None:
    # With one epoch there is nothing for them to choose.
    once = SHORT.model_copy(update={"epochs": 1})
    trainer = BackboneTrainer(kind, once)
    hashes = {
        trainer.fit(world.train[:50], valid, world.catalog).parameter_hash
        for valid in (world.valid, world.test, ())
    }
    assert len(hashes) == 1


def test_nor_do_candidates(kind: BackboneKind, world: Dataset) -> None:
    bare = [each.model_copy(update={"candidates": ()}) for each in world.train[:50]]
    trainer = BackboneTrainer(kind, SHORT)
    with_candidates = trainer.fit(world.train[:50], world.valid, world.catalog)
    without = trainer.fit(bare, world.valid, world.catalog)
    assert without.parameter_hash == with_candidates.parameter_hash


def test_validation_without_candidates_is_on_the_whole_catalogue(world: Dataset) -> None:
    bare = [each.model_copy(update={"candidates": ()}) for each in world.valid]
    recommender = BackboneTrainer("sasrec", SHORT).fit(world.train[:50], bare, world.catalog)
    look = recommender.curve[0].valid_ndcg
    assert look is not None
    assert 0 < look < 1


def test_random_states_and_threads_are_left_alone(kind: BackboneKind, world: Dataset) -> None:
    before = (str(np.random.get_state(legacy=False)), torch.get_rng_state().tolist())
    threads = torch.get_num_threads()
    recommender = fit(kind, world)
    recommender.scores(world.test)
    assert (str(np.random.get_state(legacy=False)), torch.get_rng_state().tolist()) == before
    assert torch.get_num_threads() == threads


CATALOG = Catalog(Item(item_id=each, title=each) for each in "abc")
GOOD = Session(session_id="good", items=("a", "b"), target="c")


@pytest.mark.parametrize(
    ("train", "valid", "complaint"),
    [
        ([], [], "no training session has two items in a row"),
        ([Session(session_id="s", items=("a",))], [], "no training session has two items in a row"),
        ([Session(session_id="s", items=("a", "x"))], [], "'s' names 'x', which is not in the"),
        ([GOOD], [GOOD], "session 'good' is in both splits"),
        ([GOOD], [Session(session_id="v", items=("a",))], "'v' needs a target that is in the"),
        ([GOOD], [Session(session_id="v", items=("a",), target="x")], "catalogue, not 'x'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    train: list[Session], valid: list[Session], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        BackboneTrainer("gru4rec", SHORT).fit(train, valid, CATALOG)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    wild = SHORT.model_copy(update={"learning_rate": 1e20})
    with pytest.raises(ValueError, match="a lower learning rate may help"):
        BackboneTrainer("sasrec", wild).fit([GOOD], [], CATALOG)


def test_states_are_written_after_one_epoch_or_more() -> None:
    with pytest.raises(ValueError, match="checkpoint_every is at least 1"):
        BackboneTrainer("sasrec", checkpoint_every=0)
