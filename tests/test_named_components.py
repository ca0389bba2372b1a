import pytest

from agentrec.errors import InputError
from agentrec.named_components import model_of_settings, open_embeddings
from agentrec.settings.model_settings import LlmSettings


def identity(**llm: object) -> str:
    named = model_of_settings(LlmSettings.model_validate({"name": "openai:local", **llm}))
    assert named is not None
    return named.identity


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")


def test_another_address_is_another_model_however_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [identity()]
    for variable, address in (
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:2/v1"),
        ("OPENAI_API_BASE", "http://127.0.0.1:3/v1"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, address)
            names += [identity(), identity()]
    assert identity(base_url="http://127.0.0.1:1/v1") == names[1]
    assert all(name.startswith("openai:local@") for name in names)
    assert len(set(names)) == 4
    # Neither the address nor a key in it is written down.
    assert not any("127.0.0.1" in name for name in names)


def test_what_decides_answers_is_in_the_name_and_nothing_else() -> None:
    assert identity(temperature=0) == identity(timeout=7, structured="never") == identity()
    assert identity(temperature=0.5).endswith(' {"temperature":0.5}')
    assert identity(temperature="provider") != identity()
    assert identity(parameters={"max_tokens": 9}).endswith(' {"max_tokens":9}')


def test_the_client_waits_longer_than_the_gateway() -> None:
    named = model_of_settings(LlmSettings(name="openai:local", timeout=300))
    assert named is not None
    assert named.model.request_timeout == 330  # type: ignore[attr-defined]


def test_without_a_name_there_is_no_model_to_set_up() -> None:
    assert model_of_settings(LlmSettings()) is None
    for llm in (LlmSettings(temperature=1), LlmSettings(parameters={"max_tokens": 5})):
        with pytest.raises(InputError) as caught:
            model_of_settings(llm)
        assert caught.value.field == "llm.name"


def test_a_parameter_that_the_provider_does_not_know() -> None:
    with pytest.raises(InputError, match="no parameter max_tokenz"):
        identity(parameters={"max_tokenz": 9})


@pytest.mark.parametrize("name", ["", "nobody:x", "word2vec", "minilm "])
def test_unknown_embeddings_are_said_to_be(name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_embeddings(name)
    assert caught.value.field == "embeddings"
