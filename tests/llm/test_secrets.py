import pytest

from agentrec.llm.secrets import is_secret_name, secret_paths, without_secrets

SECRET = (
    "api_key",
    "apiKey",
    "APIKEY",
    "openai_api_key",
    "x-api-key",
    "Authorization",
    "password",
    "client_secret",
    "accessToken",
    "huggingfacehub_api_token",
    "hf_token",
    "token",
    "default_headers",
)
HARMLESS = (
    "max_tokens",
    "tokens",
    "eos_token",
    "stop_token",
    "tokens_per_minute",
    "monkey",
    "keyboard",
    "model",
)


@pytest.mark.parametrize("name", SECRET)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert without_secrets({"a": [{name: "x", "b": 1}]}) == {"a": [{"b": 1}]}


@pytest.mark.parametrize("name", HARMLESS)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)
    assert list(secret_paths({name: 1})) == []


def test_where_they_stand() -> None:
    told = {"llm": {"default_headers": {"X-Org": "a", "x-api-key": "b"}, "stop": [{"token": 1}]}}
    assert list(secret_paths(told)) == [
        ("llm", "default_headers", "x-api-key"),
        ("llm", "stop", "token"),
    ]
    assert list(secret_paths({"default_headers": "Bearer x"})) == [("default_headers",)]
