import pytest

from agentrec.app.parts import named_model, open_embeddings
from agentrec.errors import InputError


def test_another_address_is_another_model_however_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    names = [named_model("openai:local")[1]]
    for variable, address in (
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:2/v1"),
        ("OPENAI_API_BASE", "http://127.0.0.1:3/v1"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, address)
            names += [named_model("openai:local")[1], named_model("openai:local")[1]]
    assert all(name.startswith("openai:local@") for name in names)
    assert len(set(names)) == 4
    # Neither the address nor a key in it is written down.
    assert not any("127.0.0.1" in name for name in names)


@pytest.mark.parametrize("name", ["", "nobody:x", "word2vec", "minilm "])
def test_unknown_embeddings_are_said_to_be(name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_embeddings(name)
    assert caught.value.field == "embeddings"
