"""Another package's parts are named like ours, in programs and in settings files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import agentrec
from agentrec.app.preferences.reward_modelling import reward_of
from agentrec.errors import InputError
from agentrec.plugins import EMBEDDINGS, load_plugin, plugin_names
from agentrec.settings.sources import load_settings
from agentrec.testing.scripted_chat_model import ScriptedChatModel

PACKAGE = Path(__file__).with_name("third_party_package")
ITEMS = [
    agentrec.Item(item_id=str(n), title=f"Mug {n}", attributes={"price": 40 - n}) for n in range(40)
]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip installed the package."""
    folder = tmp_path_factory.mktemp("acme")
    # A copy: a build leaves files beside what it builds.
    shutil.copytree(PACKAGE, folder / "source")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target"]
    pip = [sys.executable, "-m", "pip", "install", *options]
    subprocess.run([*pip, str(folder / "site"), str(folder / "source")], check=True)
    return folder / "site"


@pytest.fixture(autouse=True)
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("AGENTREC_CACHE", str(tmp_path / "cache"))


async def test_a_recommender_of_another_packages_parts() -> None:
    asked: list[str] = []

    def answer(messages: list[Any]) -> str:
        asked.append(messages[-1].text)
        return "1. C1"

    async with agentrec.open_recommender(
        catalog=ITEMS,
        llm=ScriptedChatModel([answer, answer]),
        embeddings="acme:32",
        hints="acme",
        policy="acme",
        candidates="acme",
        settings={"llm": {"structured": "never", "max_candidates": 5}},
    ) as recommender:
        hint = agentrec.Hint(text="Prefer mugs.")
        parts = recommender.components
        vector = parts.embeddings.embed_query(hint.text)
        await parts.hint_store.add(hint, vector)
        session = agentrec.Session(session_id="s", items=("1", "2"))
        ranking = await recommender.recommend(session)
    assert len(vector) == 32
    assert set(ranking.item_ids) == {"35", "36", "37", "38", "39"}
    assert ranking.hint_id == hint.hint_id
    assert hint.text in asked[0]


def test_a_settings_file_names_another_packages_parts(tmp_path: Path) -> None:
    file = tmp_path / "agentrec.toml"
    file.write_text(
        'embeddings = "acme"\nhints = "acme:here"\nprefer.reward = "acme"\n'
        '[policy]\nkind = "acme"\nsettings = { boldness = 3 }\n'
    )
    settings, _ = load_settings({}, file)
    assert (settings.embeddings, settings.policy.kind) == ("acme", "acme")
    run = SimpleNamespace(components=SimpleNamespace(catalog=agentrec.Catalog(ITEMS)))
    reward = reward_of(cast("Any", None), cast("Any", run), settings.prefer)
    assert reward.parameter_hash == "acme-1"
    file.write_text('prefer.reward = "acne"')
    with pytest.raises(InputError, match="recommender, model, both, acme") as caught:
        load_settings({}, file)
    assert caught.value.line == 1


def test_a_part_that_is_not_there_or_broken_is_named(site: Path) -> None:
    assert plugin_names(EMBEDDINGS) == ["acme"]
    with pytest.raises(InputError, match="'acne' is not one of the embeddings known here: acme"):
        load_plugin(EMBEDDINGS, "acne")
    names = next(site.glob("*.dist-info")) / "entry_points.txt"
    whole = names.read_text()
    try:
        names.write_text("[agentrec.embeddings]\nacme = acme_agentrec:nothing\n")
        with pytest.raises(InputError, match=r"acme_agentrec:nothing. cannot be"):
            load_plugin(EMBEDDINGS, "acme")
    finally:
        names.write_text(whole)
