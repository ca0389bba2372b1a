from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from embedded_model.planted import Planted
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from agentrec.embedded_model.folder import CatalogModel
from agentrec.embedded_model.teaching import training
from agentrec.embedded_model.teaching.text_lessons import IGNORED_LABEL, text_lesson
from agentrec.embedded_model.teaching.training import (
    Checkpoint,
    OnStep,
    TrainingPlan,
    learning_rate,
    text_loss,
    train_network,
)

PLAN = TrainingPlan(
    steps=9,
    batch_size=4,
    list_every=3,
    list_batch_size=2,
    text_every=3,
    lists=1,
    list_size=8,
)


class StoppedError(Exception):
    pass


def stop_at(step: int, error: type[BaseException] = StoppedError) -> OnStep:
    def on_step(done: int, steps: int) -> None:
        if done == step:
            raise error

    return on_step


def go_on(done: int, steps: int) -> None:
    pass


def train(
    films: Planted, file: Path, on_step: OnStep = go_on
) -> tuple[GPT2LMHeadModel, list[float]]:
    network = films.network()
    losses = train_network(network, films.corpus(), PLAN, Checkpoint(file), on_step)
    return network, losses


def bits(network: GPT2LMHeadModel) -> dict[str, bytes]:
    return {k: p.detach().numpy().tobytes() for k, p in network.named_parameters()}


@pytest.fixture(scope="module")
def whole(
    films: Planted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[float]]:
    network, losses = train(films, tmp_path_factory.mktemp("whole") / "part")
    return bits(network), losses


def test_the_loss_falls_in_either_kind_of_steps(
    lesson: tuple[CatalogModel, list[float]],
) -> None:
    for losses in (lesson[1][::2], lesson[1][1::2]):
        assert sum(losses[-8:]) < 0.85 * sum(losses[:8])


def test_progress_is_reported_step_by_step(films: Planted, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    network, losses = train(films, tmp_path / "part", lambda *step: reported.append(step))
    assert reported == [(n, PLAN.steps) for n in range(1, PLAN.steps + 1)]
    assert len(losses) == PLAN.steps
    assert not network.training


@pytest.mark.parametrize(
    ("stops", "error"),
    [([1], StoppedError), ([8], KeyboardInterrupt), ([2, 3, 7], StoppedError)],
)
def test_a_stopped_training_ends_in_the_same_parameters(
    films: Planted,
    whole: tuple[dict[str, bytes], list[float]],
    tmp_path: Path,
    stops: list[int],
    error: type[BaseException],
) -> None:
    file = tmp_path / "part"
    for step in stops:
        with pytest.raises(error):
            train(films, file, stop_at(step, error))
    reported: list[int] = []
    network, losses = train(films, file, lambda done, steps: reported.append(done))
    assert reported == list(range(stops[-1] + 1, PLAN.steps + 1))
    assert (bits(network), losses) == whole


def test_a_killed_training_resumes_from_the_last_regular_checkpoint(
    films: Planted,
    whole: tuple[dict[str, bytes], list[float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "part"
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 3)
    kept: list[bytes] = []
    train(films, file, lambda done, steps: kept.append(file.read_bytes() if done > 3 else b""))
    file.write_bytes(kept[4])
    reported: list[int] = []
    network, losses = train(films, file, lambda done, steps: reported.append(done))
    assert reported == [4, 5, 6, 7, 8, 9]
    assert (bits(network), losses) == whole


def _without(part: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        tensors = {k: v for k, v in load_file(file).items() if part not in k}
        save_file(tensors, file, {"losses": "[1.0, 1.0, 1.0]"})

    return damage


def _with_losses(losses: dict[str, str] | None) -> Callable[[Path], None]:
    return lambda file: save_file(load_file(file), file, losses)


def _of_other_shape(file: Path) -> None:
    tensors = {k: torch.zeros((*v.shape, 1)) for k, v in load_file(file).items()}
    save_file(tensors, file, {"losses": "[1.0, 1.0, 1.0]"})


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(b"garbage" * 100),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-50]),
    "no weights": _without("network.transformer.ln_f"),
    "no moments": _without("optimizer.exp_avg_sq.transformer.ln_f"),
    "no step": _without("optimizer.step.transformer.ln_f"),
    "other shapes": _of_other_shape,
    "no losses": _with_losses(None),
    "no list of losses": _with_losses({"losses": "5"}),
    "no numbers": _with_losses({"losses": '["x"]'}),
    "no json": _with_losses({"losses": "["}),
}


@pytest.fixture(scope="module")
def stopped(films: Planted, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of a training that was stopped after three steps."""
    file = tmp_path_factory.mktemp("stopped") / "part"
    with pytest.raises(StoppedError):
        train(films, file, stop_at(3))
    return file.read_bytes()


@pytest.mark.parametrize("damage", [None, *DAMAGE])
def test_a_damaged_checkpoint_restores_nothing(
    films: Planted, stopped: bytes, tmp_path: Path, damage: str | None
) -> None:
    file = tmp_path / "part"
    file.write_bytes(stopped)
    if damage is not None:
        DAMAGE[damage](file)
    network = films.network()
    optimizer = torch.optim.AdamW(network.parameters())
    losses: list[float] = []
    done = Checkpoint(file).restore(network, optimizer, losses)
    assert (done, len(losses), bool(optimizer.state)) == ((0, 0, False) if damage else (3, 3, True))
    assert (bits(network) == bits(films.network())) == (damage is not None)


def test_a_checkpoint_can_be_discarded_twice(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "part")
    checkpoint.path.write_bytes(b"x")
    checkpoint.discard()
    checkpoint.discard()
    assert not checkpoint.path.exists()


def test_another_seed_gives_other_parameters(films: Planted) -> None:
    assert bits(films.network(seed=1)) != bits(films.network())
    assert bits(films.network()) == bits(films.network())


def test_the_text_loss_covers_the_words_after_the_mark(films: Planted) -> None:
    network, corpus = films.network(), films.corpus()
    corpus.begin_step(3)
    loss = float(text_loss(network, corpus, 5).detach())
    corpus.begin_step(3)
    tokens, labels = text_lesson(corpus, 5)
    expected: list[float] = []
    with torch.no_grad():
        for row, wanted in zip(tokens, labels, strict=True):
            logits = network(input_ids=row[None]).logits[0, :, : films.vocabulary.first_item]
            for index, token in enumerate(wanted.tolist()):
                if token != IGNORED_LABEL:
                    expected.append(-float(logits[index - 1].log_softmax(-1)[token]))
    assert loss == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_the_rate_warms_up_and_falls() -> None:
    plan = TrainingPlan(steps=100, learning_rate=0.5)
    rates = [learning_rate(plan, step) for step in range(plan.steps)]
    top = rates.index(max(rates))
    assert 0 < top < 10
    assert max(rates) == pytest.approx(0.5, rel=0.01)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.02
