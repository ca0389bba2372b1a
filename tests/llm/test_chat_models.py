import asyncio
import gc
import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import httpx2
import pytest
from benchmarks.paced_endpoint import RANKING, PacedEndpoint
from langchain_openai import ChatOpenAI

from agentrec.errors import InputError
from agentrec.llm.chat_models import close_client, model_identity, open_chat_model
from agentrec.testing.scripted_chat_model import ScriptedChatModel


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


def test_any_other_failure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture
def _with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")


@pytest.mark.usefixtures("_with_key")
def test_the_client_makes_no_retries_of_its_own_and_has_a_time_limit() -> None:
    model = open_chat_model("openai:m")
    assert isinstance(model, ChatOpenAI)
    assert model.max_retries == 0
    assert model.root_async_client.max_retries == 0
    assert model.request_timeout == 150


@pytest.mark.usefixtures("_with_key")
def test_parameters_reach_the_model_and_win() -> None:
    parameters = {"temperature": 0.7, "base_url": "http://127.0.0.1:9/v1", "max_retries": 3}
    model = open_chat_model("openai:m", {**parameters, "max_tokens": 50, "timeout": 7})
    assert isinstance(model, ChatOpenAI)
    assert (model.temperature, model.max_retries, model.request_timeout) == (0.7, 3, 7)
    assert model.max_tokens == 50
    assert str(model.root_client.base_url) == "http://127.0.0.1:9/v1/"


@pytest.mark.usefixtures("_with_key")
def test_a_temperature_can_be_left_to_the_provider() -> None:
    model = open_chat_model("openai:m", {"temperature": None})
    assert isinstance(model, ChatOpenAI)
    assert model.temperature is None


@pytest.mark.usefixtures("_with_key")
def test_a_parameter_nobody_knows_is_named_before_anything_is_sent() -> None:
    with pytest.raises(InputError, match="temprature") as caught:
        open_chat_model("openai:m", {"temprature": 0.5})
    assert caught.value.field == "parameters"


def test_a_class_without_our_defaults_is_not_given_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def made(model: str, *, model_provider: str, **options: Any) -> ScriptedChatModel:
        given.append(options)
        return ScriptedChatModel()

    monkeypatch.setattr("langchain.chat_models.init_chat_model", made)
    open_chat_model("other:m", {"latency": 0.5})
    assert given == [{"latency": 0.5}] * 2


def test_the_embedded_model_takes_no_parameters(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no parameters"):
        open_chat_model(f"catalog-lm:{tmp_path}", {"temperature": 1})


@pytest.mark.usefixtures("_with_key")
def test_the_identity_is_all_that_decides_answers_and_nothing_secret() -> None:
    def identity(**parameters: object) -> str:
        return model_identity("openai:m", open_chat_model("openai:m", parameters), parameters)

    plain = identity()
    assert plain.startswith("openai:m@")
    assert " " not in plain
    assert identity(api_key="sk-other-key-0000", timeout=3, max_retries=1) == plain
    warm = identity(temperature=0.7, max_tokens=5)
    assert warm == f'{plain} {{"max_tokens":5,"temperature":0.7}}'
    assert identity(max_tokens=5, temperature=0.7) == warm
    nested = identity(model_kwargs={"extra": {"x_key": "sk-other", "user": "me"}})
    assert nested == f'{plain} {{"model_kwargs":{{"extra":{{"user":"me"}}}}}}'
    elsewhere = identity(base_url="http://127.0.0.1:9/v1")
    assert elsewhere.startswith("openai:m@")
    assert elsewhere != plain
    assert "127" not in elsewhere


def test_an_identity_without_an_address_is_the_name() -> None:
    assert model_identity("other:m", ScriptedChatModel()) == "other:m"
    elsewhere = model_identity("other:m", ScriptedChatModel(), {"base_url": "http://x"})
    assert elsewhere.startswith("other:m@")


SECRET = "sk-verysecret0123456789"


@pytest.mark.parametrize("field", ["api_key", "openai_api_key"])
def test_no_key_is_repeated_by_an_error(field: str) -> None:
    with pytest.raises(InputError) as caught:
        open_chat_model("openai:m", {field: SECRET, "temperature": "x" + SECRET})
    shown = "".join(traceback.format_exception(caught.value))
    assert "temperature" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("closed", [True, False])
def test_an_opened_model_has_a_client_of_its_own_that_can_be_closed(*, closed: bool) -> None:
    async def ask(address: str) -> None:
        model = open_chat_model("openai:m", {"api_key": "none", "base_url": address})
        assert (await model.ainvoke("question")).text == RANKING
        if closed:
            await close_client(model)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        # The same address in one event loop after another: a shared client would fail here.
        with PacedEndpoint() as endpoint:
            for _ in range(2):
                asyncio.run(ask(endpoint.base_url))
        gc.collect()
    unclosed = [each for each in seen if issubclass(each.category, ResourceWarning)]
    assert bool(unclosed) != closed


@pytest.mark.usefixtures("_with_key")
async def test_a_client_of_the_callers_own_is_used_and_stays_open() -> None:
    async with httpx2.AsyncClient() as own:
        model = open_chat_model("openai:m", {"http_async_client": own})
        assert isinstance(model, ChatOpenAI)
        assert model.http_async_client is own
        await close_client(model)
        assert not own.is_closed


@pytest.mark.parametrize(
    ("parameters", "used"),
    [
        ({}, None),
        ({"base_url": "http://127.0.0.1:9/v1"}, False),
        ({"base_url": "http://127.0.0.1:9/v1", "use_responses_api": True}, True),
        ({"base_url": "http://127.0.0.1:9/v1", "reasoning": {"effort": "low"}}, True),
    ],
)
def test_the_responses_api_is_left_out_where_a_server_rarely_has_it(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, object], used: bool | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = open_chat_model("openai:m", parameters)
    assert isinstance(model, ChatOpenAI)
    assert model.use_responses_api is used
