"""What a reward model depends on, of all that preferences can be set to."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agentrec.settings.prefer_settings import PreferSettings

OTHERWISE: dict[str, Any] = {
    "samples": 3,
    "temperature": 0.5,
    "shown_share": 0.5,
    "writer": "openai:gpt-4o-mini",
    "reward_share": 0.5,
    "reward_texts": 2,
    "reward": "model",
    "relevant": "target",
    "max_sessions": 7,
    "backbone": "gru4rec",
    "backbone_settings": {"dim": 16},
    "reward_model": {"epochs": 3},
    "rules": {"most_pairs": 3, "min_gap": 0.1},
}
WHAT_PAIRS_ARE_MADE_OF = {"samples", "writer", "reward", "relevant", "max_sessions", "rules"}


def settings(**changes: Any) -> PreferSettings:
    return PreferSettings.model_validate(changes)


def test_every_setting_is_looked_at_here() -> None:
    assert set(OTHERWISE) == set(PreferSettings.model_fields)
    assert len(
        {settings(**{name: value}).model_dump_json() for name, value in OTHERWISE.items()}
    ) == (len(OTHERWISE))


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_reward_model_is_made_anew_for_what_it_depends_on_and_for_nothing_else(
    name: str,
) -> None:
    changed = settings(**{name: OTHERWISE[name]}).of_reward_model()
    assert (changed == settings().of_reward_model()) == (name in WHAT_PAIRS_ARE_MADE_OF)


def test_what_it_depends_on_is_kept() -> None:
    kept = settings(**OTHERWISE).of_reward_model()
    for name in PreferSettings.model_fields:
        source = settings() if name in WHAT_PAIRS_ARE_MADE_OF else settings(**OTHERWISE)
        assert getattr(kept, name) == getattr(source, name)
    assert kept.of_reward_model() == kept
    # It is written down, and read again.
    assert PreferSettings.model_validate_json(kept.model_dump_json()) == kept


@pytest.mark.parametrize(
    "wrong", [{"reward_texts": 0}, {"reward": "nobody"}, {"relevant": "all"}, {"rewards": "both"}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
