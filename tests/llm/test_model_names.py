import json
import sys
from pathlib import Path

import pytest
from langchain_openai import ChatOpenAI

from agentrec.errors import InputError
from agentrec.llm.model_names import open_chat_model


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ADMIN_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def refused(name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        open_chat_model(name)
    assert caught.value.exit_code == 2
    assert caught.value.field == "llm" or caught.value.file is not None
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_missing_key_is_one_line_that_names_the_variable() -> None:
    error = refused("openai:gpt-4o-mini")
    assert "OPENAI_API_KEY" in str(error)
    assert len(str(error)) < 120


def test_with_a_key_it_is_the_model_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = open_chat_model("openai:org/model:with-colon")
    assert isinstance(model, ChatOpenAI)
    assert model.model_name == "org/model:with-colon"
    assert model.temperature == 0
    assert str(model.root_client.base_url) == "http://127.0.0.1:9/v1/"


@pytest.mark.parametrize("name", ["", "gpt-4o-mini", ":", "openai:", ":gpt-4o-mini"])
def test_a_malformed_name_says_what_would_be_right(name: str) -> None:
    assert "PROVIDER:MODEL" in str(refused(name))


def test_an_unknown_provider_is_named() -> None:
    assert "nosuchprovider" in str(refused("nosuchprovider:x"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_mistralai", None)
    message = str(refused("mistralai:mistral-small"))
    assert "not installed" in message
    assert "langchain-mistralai" in message


@pytest.mark.parametrize(
    ("provider", "complaint", "variable"),
    [
        ("google_genai", "API key required; set GOOGLE_API_KEY or pass it", "GOOGLE_API_KEY"),
        ("some-cloud", "Did not find\nsome_cloud api_key", "SOME_CLOUD_API_KEY"),
    ],
)
def test_the_variable_is_the_one_the_client_names(
    monkeypatch: pytest.MonkeyPatch, provider: str, complaint: str, variable: str
) -> None:
    def complain(*args: object, **options: object) -> None:
        raise ValueError(complaint)

    monkeypatch.setattr("langchain.chat_models.init_chat_model", complain)
    message = str(refused(f"{provider}:m"))
    assert f"set {variable} in the environment" in message


def test_any_other_failure_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(*args: object, **options: object) -> None:
        raise RuntimeError("it\nbroke " + "x" * 5000)

    monkeypatch.setattr("langchain.chat_models.init_chat_model", complain)
    message = str(refused("openai:m"))
    assert "it broke" in message
    assert len(message) < 400


def test_an_embedded_model_that_is_not_there_names_the_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in str(refused(f"catalog-lm:{tmp_path / 'none'}"))
    (tmp_path / "catalog_lm.json").write_text(json.dumps({"name": "x"}))
    assert "catalog_lm.json" in str(refused(f"catalog-lm:{tmp_path}"))
