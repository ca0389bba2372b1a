import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from agentrec import plugins
from agentrec.errors import InputError
from agentrec.policies.hint_policies.linear_bandits import LinearBanditConfig, ThompsonTrainer
from agentrec.policies.hint_policies.untrained import (
    FixedHintPolicy,
    NearestHintPolicy,
    NoHintPolicy,
    NoHintTrainer,
    RandomHintPolicy,
)
from agentrec.policies.policy_files import PolicyOnDisk, StoredPolicy, write_policy
from agentrec.policies.policy_kinds import POLICY_KINDS, PolicyKind, load_policy, trainer_for
from agentrec.testing.planted_sessions import PlantedRewards, planted_rewards

NUMPY_KINDS = [kind for kind in POLICY_KINDS if not kind.endswith("_ppo")]


@pytest.fixture(scope="module")
def world() -> PlantedRewards:
    return planted_rewards(120, 4, 6, signal=1.0, noise=0.2, seed=0)


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a package, as far as its entry point goes."""

    def brought(name: str, value: str) -> None:
        point = EntryPoint(name, value, "agentrec.hint_policies")
        monkeypatch.setattr(
            plugins,
            "entry_points",
            lambda *, group: [point] if group == point.group else [],
        )

    return brought


def test_the_kinds_that_files_and_settings_name_stay() -> None:
    assert set(POLICY_KINDS) >= {
        "no_hint",
        "fixed",
        "random",
        "nearest",
        "best_single",
        "linucb",
        "thompson",
        "value_regression",
        "categorical_ppo",
        "scoring_ppo",
    }


@pytest.mark.parametrize("kind", POLICY_KINDS)
def test_every_part_is_where_it_is_said_to_be(kind: str) -> None:
    for place in (POLICY_KINDS[kind].policy, POLICY_KINDS[kind].trainer):
        module, name = place.split(":")
        assert callable(getattr(import_module(module), name))
    settings = POLICY_KINDS[kind].settings.split(":")
    assert issubclass(getattr(import_module(settings[0]), settings[1]), BaseModel)


@pytest.mark.parametrize("kind", NUMPY_KINDS)
def test_every_kind_is_trained_saved_and_loaded_by_name(
    kind: str, world: PlantedRewards, tmp_path: Path
) -> None:
    settings = {"hint_id": world.hint_ids[2]} if kind == "fixed" else None
    policy = trainer_for(kind, settings).fit(world.rewarded(), seed=4)
    assert isinstance(policy, PolicyOnDisk)
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert type(loaded) is type(policy)
    assert loaded.parameter_hash == policy.parameter_hash
    choices, again = policy.choose(world.offer()), loaded.choose(world.offer())
    assert list(again) == list(choices)
    assert np.array_equal(again.scores, choices.scores)


def test_what_is_loaded_is_of_the_kind_that_was_saved(tmp_path: Path) -> None:
    for policy in (NoHintPolicy(), FixedHintPolicy("a"), RandomHintPolicy(1), NearestHintPolicy()):
        policy.save(tmp_path)
        assert type(load_policy(tmp_path)) is type(policy)


def test_neither_the_list_nor_simple_policies_bring_torch(tmp_path: Path) -> None:
    NearestHintPolicy(0.5).save(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from agentrec.policies import policy_kinds\n"
        "from agentrec.policies.hint_policies import linear_bandits, value_regression\n"
        f"policy_kinds.load_policy(Path({str(tmp_path)!r}))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_settings_come_as_plain_data_or_as_their_model() -> None:
    plain = trainer_for("thompson", {"ridge": 7})
    assert isinstance(plain, ThompsonTrainer)
    assert plain.config == LinearBanditConfig(ridge=7)
    ready = trainer_for("thompson", LinearBanditConfig(epochs=2))
    assert isinstance(ready, ThompsonTrainer)
    assert ready.config.epochs == 2


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("fixed", None, "fixed.hint_id"),
        ("linucb", {"ridge": -1}, "linucb.ridge"),
        ("random", {"seed": 1}, "random.seed"),
        ("nearest", LinearBanditConfig(), "nearest.ridge"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(kind: str, settings: object, field: str) -> None:
    with pytest.raises(InputError) as refused:
        trainer_for(kind, settings)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_a_kind_that_nobody_knows_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'oracle' is not one of .* known here: .*best_single"):
        trainer_for("oracle")

    class Nothing(BaseModel):
        pass

    write_policy(tmp_path, "oracle", Nothing(), {})
    with pytest.raises(InputError, match="'oracle' is not one of") as refused:
        load_policy(tmp_path)
    assert (refused.value.file, refused.value.field) == (tmp_path / "policy.json", "kind")


class TheirPolicy(NoHintPolicy):
    kind = "theirs"

    @classmethod
    def from_stored(cls, stored: StoredPolicy) -> "TheirPolicy":
        return cls()


THEIRS = PolicyKind(
    f"{__name__}:TheirPolicy",
    f"{__name__}:NoHintTrainer",
    "agentrec.policies.hint_policies.untrained:NoSettings",
)


def test_an_installed_package_brings_kinds_of_its_own(
    bring: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests are imported by file; a package could be imported by name.
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    bring("theirs", f"{__name__}:THEIRS")
    TheirPolicy().save(tmp_path)
    assert isinstance(load_policy(tmp_path), TheirPolicy)
    assert isinstance(trainer_for("theirs"), NoHintTrainer)
    with pytest.raises(InputError, match=r"known here: .*theirs"):
        trainer_for("nobody's")


def test_ours_is_not_replaced_by_theirs(bring: Callable[[str, str], None], tmp_path: Path) -> None:
    bring("no_hint", f"{__name__}:THEIRS")
    NoHintPolicy().save(tmp_path)
    assert type(load_policy(tmp_path)) is NoHintPolicy


def test_what_is_no_kind_is_refused(bring: Callable[[str, str], None]) -> None:
    bring("theirs", "agentrec.policies.hint_policies.untrained:NoHintPolicy")
    with pytest.raises(InputError, match="must be a PolicyKind"):
        trainer_for("theirs")
