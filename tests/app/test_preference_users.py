"""No more pairs of a user than the rules allow, also where collecting was interrupted."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from app.preference_runs import QUICK, Settings, quiet
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.app.preferences.collection import ORIGIN_FILE, Collection, check_users, collect_pairs
from agentrec.app.preferences.run_collection import opened
from agentrec.data import load_folder
from agentrec.errors import InputError
from agentrec.graphs.preferences.pairing import PairingRules
from agentrec.policies.alignment.pair_encoding import encode_pairs, split_by_user
from agentrec.preferences import PreferencePair
from agentrec.sessions import Session
from agentrec.settings.prefer_settings import PreferSettings
from agentrec.stores.pairs.export import read_pairs
from agentrec.testing.planted_sessions import PlantedSessions

USERS = 5


class Letters:
    """Every letter is a token."""

    def tokens(self, pair: PreferencePair) -> tuple[list[int], list[int], list[int]]:
        asked = "".join(turn.content for turn in pair.prompt)
        prompt, chosen, rejected = ([*map(ord, one)] for one in (asked, pair.chosen, pair.rejected))
        return prompt, chosen, rejected


def owned(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """Every fifth session is the same user's."""
    return tuple(
        one.model_copy(update={"user_id": f"u{n % USERS}"}) for n, one in enumerate(sessions)
    )


async def collected_again(
    folder: Path, settings_for: Settings, max_per_user: int | None
) -> tuple[Collection, list[PreferencePair]]:
    """Collect in a run whose training sessions say whose they are."""
    rules = PairingRules(max_per_user=max_per_user)
    prefer = PreferSettings.model_validate({**QUICK, "rules": rules})
    async with opened(settings_for(folder), quiet()) as parts:
        data = replace(parts.dataset, train=owned(parts.dataset.train))
        check_users(data, rules)
        told = await collect_pairs(replace(parts, dataset=data), prefer, parts.folder.preferences)
    return told, read_pairs(folder / "preferences" / "pairs.jsonl")


@pytest.fixture
def run(collected: Path, tmp_path: Path) -> Path:
    """A run whose texts are written and whose pairs are not collected."""
    shutil.copytree(collected, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "preferences")
    return tmp_path / "run"


def per_user(pairs: list[PreferencePair]) -> Counter[str]:
    sessions = {(pair.user_id, pair.session_id) for pair in pairs}
    return Counter(user for user, _ in sessions)


async def test_the_first_sessions_of_each_user_have_pairs(
    run: Path, settings_for: Settings
) -> None:
    whole, pairs = await collected_again(run, settings_for, None)
    assert max(per_user(pairs).values()) > 2
    shutil.rmtree(run / "preferences")
    told, capped = await collected_again(run, settings_for, 2)
    expected = []
    for pair in pairs:
        if [one.user_id for one in expected].count(pair.user_id) < 2:
            expected.append(pair)
    assert capped == expected
    assert told.pairs == len(capped)
    assert told.refused["user has enough pairs"] == len(pairs) - len(capped)
    assert whole.refused.get("user has enough pairs") is None


async def test_a_capped_collection_that_was_interrupted_ends_with_the_same_bytes(
    run: Path, settings_for: Settings
) -> None:
    await collected_again(run, settings_for, 1)
    file = run / "preferences" / "pairs.jsonl"
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    assert len(lines) > 2
    for kept in (lines[:1], lines[:-1], [*lines[:2], lines[2][: len(lines[2]) // 2]], lines):
        file.write_bytes(b"".join(kept))
        await collected_again(run, settings_for, 1)
        assert file.read_bytes() == content


async def test_a_pair_that_comes_late_finds_its_user_served(
    run: Path, settings_for: Settings
) -> None:
    _, pairs = await collected_again(run, settings_for, None)
    file = run / "preferences" / "pairs.jsonl"
    # As if the texts of all earlier sessions had failed the first time.
    lines = file.read_bytes().splitlines(keepends=True)
    last = {pair.user_id: line for pair, line in zip(pairs, lines, strict=True)}
    file.write_bytes(b"".join(last.values()))
    (run / "preferences" / ORIGIN_FILE).unlink()
    told, again = await collected_again(run, settings_for, 1)
    assert set(per_user(again).values()) == {1}
    assert file.read_bytes() == b"".join(last.values())
    assert told.pairs == len(last)


async def test_users_are_parted_where_a_model_is_tuned(run: Path, settings_for: Settings) -> None:
    _, pairs = await collected_again(run, settings_for, None)
    examples = encode_pairs(pairs, Letters(), 10_000).usable
    train, apart = split_by_user(examples, 0.4, 0)
    user_of = {pair.session_id: pair.user_id for pair in pairs}
    sides = [{user_of[one.session_id] for one in side} for side in (train, apart)]
    assert sides[0].isdisjoint(sides[1])
    assert sorted(map(len, sides)) == [2, 3]


def test_a_cap_without_users_is_one_line_and_leaves_nothing(
    planted: PlantedSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    config = tmp_path / "agentrec.toml"
    config.write_text('embeddings = "hashed"\n[prefer.rules]\nmax_per_user = 2\n')
    run = tmp_path / "run"
    given = ["--run", str(run), "--config", str(config), "--data", str(planted.folder)]
    result = CliRunner().invoke(app, ["prefer", "collect", *given])
    assert result.exit_code == 2, result.output
    assert "field 'prefer.rules.max_per_user'" in result.stderr
    assert "user_id" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not run.exists()


def test_one_session_that_says_whose_it_is_is_enough(planted: PlantedSessions) -> None:
    data = load_folder(planted.folder)
    capped = PairingRules(max_per_user=1)
    check_users(data, PairingRules())
    with pytest.raises(InputError) as caught:
        check_users(data, capped)
    assert caught.value.field == "prefer.rules.max_per_user"
    first, *others = data.train
    check_users(replace(data, train=(first.model_copy(update={"user_id": "u"}), *others)), capped)
