"""14: retries end unbound, folders are missing, a GPU is demanded, no seeds, pickles."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architecture.source_imports import ROOT, imports_of, product_files
from langchain_core.messages import HumanMessage, SystemMessage
from testing.answering import WRONG, make_catalog, make_components, make_session, targets_of, world

from agentrec.app.learning.reward_measurement import fill_reward_table
from agentrec.errors import InputError, ModelCallError
from agentrec.hints import Hint
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.journal import CallJournal
from agentrec.policies.policy_kinds import load_policy
from agentrec.policies.ppo.config import PPOConfig
from agentrec.policies.ppo.policy import PPOHintPolicy
from agentrec.policies.ppo.trainer import PPOTrainer
from agentrec.policies.rewards.reward_table import RewardTable
from agentrec.testing.planted_sessions import PlantedRewards
from agentrec.testing.scripted_chat_model import ScriptedChatModel

SOON = RetryPolicy(max_attempts=3, first_wait=0.001)
ASKED = [SystemMessage("You rank."), HumanMessage("Rank these.")]
QUICK = PPOConfig(iterations=2, epochs=1, samples_per_session=1, hidden_sizes=(8,), latent_size=4)


def asked_of(model: ScriptedChatModel) -> list[list[tuple[str, str]]]:
    return [[(message.type, message.text) for message in messages] for messages in model.calls]


async def test_14_a_retry_asks_the_whole_question_again_and_nothing_more() -> None:
    model = ScriptedChatModel([ConnectionResetError("gone"), TimeoutError(), "fine"])
    assert await ModelGateway(model, "m", retries=SOON).ask("rank", ASKED) == "fine"
    assert asked_of(model) == [[("system", "You rank."), ("human", "Rank these.")]] * 3


async def test_14_when_retries_are_used_up_there_is_a_typed_error_and_no_answer() -> None:
    model = ScriptedChatModel([ConnectionResetError("gone")] * 3 + ["fine"])
    gateway = ModelGateway(model, "m", retries=SOON)
    with pytest.raises(ModelCallError) as caught:
        await gateway.ask("rank", ASKED)
    assert (caught.value.kind, caught.value.transient) == ("unreachable", True)
    assert gateway.calls["made"] == gateway.calls["failed"] == {"rank": 3}
    # It is no answer: whoever asks again gets one.
    assert await gateway.ask("rank", ASKED) == "fine"


async def test_14_a_failed_call_is_never_a_reward_of_zero(tmp_path: Path) -> None:
    session, hint = make_session(0), Hint(text="Prefer old films.")
    answer = world(lambda hint, _: 1 if hint else WRONG, targets_of([session], make_catalog()))
    model = ScriptedChatModel([answer, *[TimeoutError("slow")] * 3, answer])

    async def filled() -> RewardTable:
        async with await CallJournal.open(tmp_path / "calls.sqlite") as journal:
            gateway = ModelGateway(model, "scripted", journal, retries=SOON)
            components = replace(make_components(model), model=gateway)
            return await fill_reward_table([session], [hint], components, 1, lambda: None)

    with pytest.raises(ModelCallError):
        await filled()
    assert (await filled()).ndcg.tolist() == [[0, 1]]
    # What was answered at the first attempt was not asked for again.
    model.assert_exhausted()


def test_14_folders_of_checkpoints_and_policies_are_made(
    trainer_type: type[PPOTrainer], train_world: PlantedRewards, tmp_path: Path
) -> None:
    checkpoint, folder = tmp_path / "not" / "there" / "yet", tmp_path / "nor" / "this"
    policy = trainer_type(QUICK, checkpoint=checkpoint, checkpoint_every=2).fit(
        train_world.rewarded(), seed=1
    )
    policy.save(folder)
    assert (checkpoint / "policy.json").is_file()
    assert load_policy(folder).choose(train_world.offer()).hint_ids == (
        policy.choose(train_world.offer()).hint_ids
    )


def test_14_the_same_seed_gives_the_same_parameters(
    trainer_type: type[PPOTrainer], train_world: PlantedRewards
) -> None:
    def trained(seed: int) -> str:
        # What others drew meanwhile is of no consequence.
        torch.rand(7)
        np.random.random(7)
        return trainer_type(QUICK).fit(train_world.rewarded(), seed=seed).parameter_hash

    assert trained(5) == trained(5)
    assert trained(5) != trained(6)


def test_14_no_gpu_is_needed_or_looked_for(
    trainer_type: type[PPOTrainer],
    train_world: PlantedRewards,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("Found no NVIDIA driver on your system.")

    # What torch does on a computer without one, wherever this test runs.
    monkeypatch.setattr(torch.cuda, "_lazy_init", missing)
    for owner in (torch.Tensor, torch.nn.Module):
        monkeypatch.setattr(owner, "cuda", missing)
    policy = trainer_type(QUICK).fit(train_world.rewarded(), seed=1)
    policy.save(tmp_path)
    offer = train_world.offer()
    assert load_policy(tmp_path).choose(offer).hint_ids == policy.choose(offer).hint_ids


def test_14_only_the_check_that_refuses_pickles_reads_any() -> None:
    unpickling = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    readers = set()
    for file in product_files():
        text = file.read_text(encoding="utf-8")
        # Parsing every file takes a second; few hold any of the words at all.
        imported = imports_of(file) if any(name in text for name in unpickling) else []
        if "torch.load(" in text or any(one.target.split(".")[0] in unpickling for one in imported):
            readers.add(str(file.relative_to(ROOT)))
    assert readers <= {"stores/folder_check.py"}


def test_14_a_stored_policy_is_json_and_safetensors(trained: PPOHintPolicy, tmp_path: Path) -> None:
    trained.save(tmp_path)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".safetensors"]
    for file in tmp_path.iterdir():
        # Zip archives are what torch pickles into.
        assert file.read_bytes()[:2] not in (b"\x80\x04", b"\x80\x05", b"PK")


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self._file,)


def test_14_a_pickle_in_the_place_of_weights_is_refused_unopened(
    trained: PPOHintPolicy, tmp_path: Path
) -> None:
    folder, sprung = tmp_path / "policy", tmp_path / "sprung"
    trained.save(folder)
    content = pickle.dumps(_Trap(sprung))
    pickle.loads(content)
    assert sprung.exists()
    sprung.unlink()
    digest = hashlib.sha256(content).hexdigest()
    (weights,) = folder.glob("*.safetensors")
    weights.unlink()
    (folder / f"weights-{digest[:16]}.safetensors").write_bytes(content)
    description = json.loads((folder / "policy.json").read_text("utf-8"))
    description["weights_sha256"] = digest
    (folder / "policy.json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_policy(folder)
    assert not sprung.exists()
