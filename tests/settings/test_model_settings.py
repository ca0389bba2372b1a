import re
from dataclasses import fields

import pytest
from pydantic import BaseModel, ValidationError

from agentrec.assembly import component_settings
from agentrec.components import Components
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.rate_limits import CallLimits
from agentrec.settings.model_settings import LimitsSettings, RetriesSettings
from agentrec.settings.run_settings import RunSettings


def test_every_setting_says_what_it_is() -> None:
    def undocumented(section: type[BaseModel]) -> list[str]:
        names: list[str] = []
        for name, field in section.model_fields.items():
            if not re.search(rf"^ +{name}: ", section.__doc__ or "", re.MULTILINE):
                names.append(f"{section.__name__}.{name}")
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names += undocumented(kind)
        return names

    assert undocumented(RunSettings) == []


def test_defaults_are_those_of_the_library() -> None:
    assert LimitsSettings().limits() == CallLimits()
    assert RetriesSettings().policy(RunSettings().llm.timeout) == RetryPolicy()


def test_settings_reach_the_components_by_their_name_with_the_same_defaults() -> None:
    defaults = {field.name: field.default for field in fields(Components)}
    found = component_settings(RunSettings())
    assert {"label_length", "shuffles", "max_hints", "max_harm_rate", "seed"} <= set(found)
    assert found == {name: defaults[name] for name in found}
    changed = RunSettings.model_validate({"llm": {"label_length": 9}, "max_hints": 3})
    assert component_settings(changed) == {**found, "label_length": 9, "max_hints": 3}


def test_settings_are_frozen_and_know_no_other_names() -> None:
    settings = RunSettings.model_validate({"llm": "openai:m"})
    assert settings.llm.name == "openai:m"
    with pytest.raises(ValidationError):
        settings.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="concurrency"):
        RunSettings.model_validate({"concurrency": 3})
