"""The settings of a policy: where they come from, what overrides what, and how faults are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError
from settings.conftest import Write, error_of

from agentrec.session_encoding.blocks import DEFAULT_BLOCKS
from agentrec.settings.policy_settings import PolicySettings
from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import load_settings

RUN = {"policy": {"kind": "linucb", "settings": {"ridge": 2.0}, "nearest": 4}}


def policy(
    given: Mapping[str, Any] | None = None, below: Mapping[str, Any] | None = None
) -> PolicySettings:
    return load_settings(given, below=below)[0].policy


def test_a_kind_alone_is_a_policy_wherever_it_is_said(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = PolicySettings(kind="linucb")
    assert policy({"policy": "linucb"}) == policy({"policy": {"kind": "linucb"}}) == expected
    with monkeypatch.context() as patch:
        for name in ("AGENTREC_POLICY", "AGENTREC_POLICY__KIND"):
            with patch.context() as each:
                each.setenv(name, "linucb")
                assert policy() == expected
        patch.setenv("AGENTREC_POLICY", '{"kind": "linucb", "halving": true}')
        assert policy() == PolicySettings(kind="linucb", halving=True)
    for name, text in (("agentrec.toml", 'policy = "linucb"'), ("agentrec.yaml", "policy: linucb")):
        file = write(text, name)
        assert policy() == expected
        file.unlink()


def test_settings_of_a_kind_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTREC_POLICY__SETTINGS__ITERATIONS", "3")
    monkeypatch.setenv("AGENTREC_POLICY__SETTINGS__HIDDEN_SIZES", "[8, 4]")
    monkeypatch.setenv("AGENTREC_POLICY__SETTINGS__UNMEASURED", "leave_out")
    monkeypatch.setenv("AGENTREC_POLICY__NEAREST", "5")
    found = policy()
    assert found.settings == {
        "iterations": 3,
        "hidden_sizes": [8, 4],
        "unmeasured": "leave_out",
    }
    assert (found.kind, found.nearest) == ("scoring_ppo", 5)


def test_settings_of_a_kind_may_stand_above_the_kind(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('policy = "linucb"')
    monkeypatch.setenv("AGENTREC_POLICY__SETTINGS__EXPLORATION", "0.5")
    assert policy() == PolicySettings(kind="linucb", settings={"exploration": 0.5})
    above = policy({"policy": {"settings": {"ridge": 3}}})
    assert above.settings == {"exploration": 0.5, "ridge": 3}
    assert policy({"policy": {"halving": True}}).settings == {"exploration": 0.5}


def test_another_kind_drops_the_settings_of_the_one_below(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("[policy]\nhalving = true\nsettings = { iterations = 3 }")
    assert policy().settings == {"iterations": 3}
    # Nobody said a kind: the settings are those of the usual one.
    assert policy({"policy": {"kind": "scoring_ppo"}}).settings == {"iterations": 3}
    monkeypatch.setenv("AGENTREC_POLICY", "linucb")
    assert policy() == PolicySettings(kind="linucb", halving=True)
    again = policy({"policy": {"kind": "scoring_ppo", "settings": {"epochs": 2}}})
    assert again == PolicySettings(kind="scoring_ppo", halving=True, settings={"epochs": 2})


def test_those_of_a_run_are_below_all_others(write: Write) -> None:
    assert policy(below=RUN) == PolicySettings.model_validate(RUN["policy"])
    assert policy({"policy": {"settings": {"epochs": 2}}}, RUN).settings == {
        "ridge": 2.0,
        "epochs": 2,
    }
    assert policy({"policy": "thompson"}, RUN) == PolicySettings(kind="thompson", nearest=4)
    write("policy.settings.epochs = 3")
    assert policy(below=RUN).settings == {"ridge": 2.0, "epochs": 3}


def test_a_section_that_has_the_name_of_another_is_not_taken_for_it(write: Write) -> None:
    write('[llm]\nname = "openai:m"\nparameters = { policy = "fast" }')
    settings = load_settings({"llm": {"parameters": {"policy": "slow"}}})[0]
    assert settings.llm.given == {"policy": "slow"}


WRONG: Mapping[str, tuple[str, int, str, str]] = {
    "an unknown kind": (
        'seed = 1\npolicy = "ppo"',
        2,
        "policy.kind",
        "'ppo' is not one of",
    ),
    "an unknown kind in a section": (
        '[policy]\nhalving = true\nkind = "ppo"',
        3,
        "policy.kind",
        "known here: best_single",
    ),
    "an unknown setting": (
        '[policy]\nkind = "linucb"\n[policy.settings]\nriges = 1',
        4,
        "policy.settings.riges",
        "is not a setting; did you mean ridge?",
    ),
    "a setting of another kind": (
        '[policy]\nkind = "linucb"\n[policy.settings]\nclip = 1',
        4,
        "policy.settings.clip",
        "known settings: ridge, exploration",
    ),
    "out of range": (
        "[policy.settings]\niterations = 0",
        2,
        "policy.settings.iterations",
        "must be at least 1, not 0",
    ),
    "no setting of the section": (
        "[policy]\nkinds = 'linucb'",
        2,
        "policy.kinds",
        "did you mean kind?",
    ),
    "a shape that is none": (
        "[policy]\nshape = 'round'",
        2,
        "policy.shape",
        "must be 'ndcg', 'reciprocal_rank', 'hit' or 'sign', not 'round'",
    ),
    "among none of the nearest": ("policy.nearest = 0", 1, "policy.nearest", "at least 1, not 0"),
    "a hint is missing": ('policy = "fixed"', 1, "policy.settings.hint_id", "is missing"),
    "no name": ("policy = ''", 1, "policy.kind", "at least 1 character"),
    "a number": ("policy = 3", 1, "policy", "must be a section with kind, settings"),
    "a number for settings": ("policy.settings = 3", 1, "policy.settings", "must be a section"),
    "an unknown block": ("state_blocks = ['text', 'mood']", 1, "state_blocks.1", "must be 'text'"),
    "a block twice": (
        "\nstate_blocks = ['text', 'text']",
        2,
        "state_blocks",
        "names a block twice",
    ),
    "no block": ("state_blocks = []", 1, "state_blocks", "at least 1 item"),
    "a block alone": ("state_blocks = 'text'", 1, "state_blocks", "must be a valid array"),
}


@pytest.mark.parametrize(("text", "line", "field", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named_by_file_line_and_field(
    text: str, line: int, field: str, told: str, write: Write
) -> None:
    file = write(text, "wrong.toml")
    error = error_of(config=file)
    assert (error.file, error.line, error.field) == (file, line, field)
    assert told in error.problem


def test_a_wrong_one_is_named_by_variable_and_by_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "(--policy)" in str(error_of({"policy": {"kind": "ppo"}}))
    for name, value, told in (
        ("AGENTREC_POLICY__KIND", "ppo", "is not one of the hint"),
        ("AGENTREC_POLICY__SETTINGS__ITERATIONS", "many", "must be a valid integer, not 'many'"),
        ("AGENTREC_POLICY__SETTINGS__RIDGE", "1", "is not a setting"),
        ("AGENTREC_POLICY__HALVING", "perhaps", "must be a valid boolean"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            error = error_of()
            assert error.field == name
            assert told in error.problem


def test_blocks_of_the_state_keep_their_order(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings()[0].state_blocks == DEFAULT_BLOCKS
    write("state_blocks = ['length', 'text']")
    assert load_settings()[0].state_blocks == ("length", "text")
    monkeypatch.setenv("AGENTREC_STATE_BLOCKS", '["numbers"]')
    assert load_settings()[0].state_blocks == ("numbers",)
    assert load_settings({"state_blocks": ["text"]})[0].state_blocks == ("text",)


def test_settings_alone_say_what_is_wrong_as_well() -> None:
    for given, told in (
        ({"kind": "ppo"}, r"kind: 'ppo' is not one of"),
        ({"settings": {"x": 1}}, r"settings\.x: is not a setting"),
        ({"kind": "value_regression", "settings": {"ridges": []}}, r"settings\.ridges: "),
    ):
        with pytest.raises(ValidationError, match=told):
            PolicySettings.model_validate(given)
        with pytest.raises(ValidationError, match=told):
            RunSettings.model_validate({"policy": given})


def test_what_follows_from_the_settings() -> None:
    usual = PolicySettings()
    assert usual.plan(3) is None
    assert (usual.hints_offered(20), usual.hints_offered(50)) == (32, 50)
    few = PolicySettings(nearest=2, halving=True)
    assert few.hints_offered(50) == 2
    plan = few.plan(3)
    assert plan is not None
    assert (plan.seed, plan.calls_per_row(20)) == (3, 10)
