"""What a person sees of a mistake: one line on stderr, exit code 2, and nothing half-written."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agentrec.app.cli.main import app
from agentrec.settings.run_settings import RunSettings
from agentrec.testing.planted_sessions import PlantedSessions

ITEMS = [{"item_id": f"i{n}", "title": f"Film {n}"} for n in range(8)]
SESSION = {"items": ["i0", "i1"], "target": "i2", "candidates": ["i2", "i3", "i4"]}
SESSIONS = [{"session_id": f"s{n}", **SESSION} for n in range(10)]

Shop = Callable[..., Path]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Write a folder in the neutral format; text lines are written as they are."""

    def made(
        items: Sequence[object] | None = ITEMS, train: Sequence[object] | None = SESSIONS
    ) -> Path:
        folder = tmp_path / "shop"
        folder.mkdir()
        for name, lines in (("items.jsonl", items), ("sessions.train.jsonl", train)):
            if lines is not None:
                texts = [x if isinstance(x, str) else json.dumps(x) for x in lines]
                (folder / name).write_text("\n".join(texts) + "\n")
        return folder

    return made


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("COLUMNS", "200")

    def demo(*options: object, data: Path | None) -> Result:
        arguments = ["demo", f"--run={tmp_path / 'run'}", "--embeddings=hashed"]
        arguments += [] if data is None else [f"--data={data}"]
        return CliRunner().invoke(app, [*arguments, *map(str, options)])

    return demo


def refused(result: Result, run: Path, *told: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    for words in told:
        assert words in result.stderr
    assert not run.exists()


def changed(index: int, **fields: object) -> list[object]:
    return [{**one, **fields} if n == index else one for n, one in enumerate(SESSIONS)]


BAD_FOLDERS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "no items": ({"items": None}, ("items.jsonl",)),
    "no sessions": ({"train": None}, ("sessions.train.jsonl",)),
    "empty items": ({"items": [""]}, ("items.jsonl",)),
    "a broken line": ({"train": [*SESSIONS, "{"]}, ("sessions.train.jsonl:11",)),
    "a list for a line": ({"items": [*ITEMS, [1]]}, ("items.jsonl:9",)),
    "an unknown item": (
        {"train": changed(3, items=["i0", "nope"])},
        ("sessions.train.jsonl:4", "'items'", "nope"),
    ),
    "an unknown candidate": (
        {"train": changed(3, candidates=["i2", "nope"])},
        ("sessions.train.jsonl:4", "'candidates'", "nope"),
    ),
    "target not a candidate": (
        {"train": changed(0, candidates=["i3", "i4"])},
        ("sessions.train.jsonl:1", "'candidates'", "lacks the target 'i2'"),
    ),
    "an empty session": ({"train": changed(9, items=[])}, ("sessions.train.jsonl:10", "'items'")),
    "no target": ({"train": changed(9, target=None)}, ("sessions.train.jsonl:10", "'target'")),
    "an item twice": ({"items": [*ITEMS, ITEMS[0]]}, ("items.jsonl:9", "'item_id'", "'i0'")),
    "a session twice": (
        {"train": [*SESSIONS, SESSIONS[4]]},
        ("sessions.train.jsonl:11", "'session_id'", "'s4'"),
    ),
    "an empty title": ({"items": [*ITEMS, {"item_id": "x", "title": " "}]}, ("'title'",)),
    "one session alone": ({"train": SESSIONS[:1]}, ("sessions.valid.jsonl", "too few")),
}


@pytest.mark.parametrize(("files", "told"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_data_is_named_by_file_line_and_field(
    files: dict[str, Sequence[object]], told: tuple[str, ...], shop: Shop, call, tmp_path: Path
) -> None:
    refused(call(data=shop(**files)), tmp_path / "run", *told)


def test_a_folder_that_is_not_there(call, tmp_path: Path) -> None:
    refused(call(data=tmp_path / "nowhere"), tmp_path / "run", "nowhere", "does not exist")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--negatives=hard"], ("'negatives'", "'hard'", "popularity", "uniform")),
        (["--llm=openai:gpt-4o-mini"], ("'llm'", "OPENAI_API_KEY")),
        (["--llm=nobody:model"], ("'llm'", "nobody")),
        (["--llm=gpt"], ("'llm'", "PROVIDER:MODEL")),
        (["--llm=catalog-lm:/nowhere"], ("/nowhere",)),
        (["--embeddings=word2vec"], ("'embeddings'", "minilm")),
        (["--embeddings=openai:text-embedding-3-small"], ("'embeddings'",)),
        (["--prompts=/nowhere/prompts"], ("/nowhere/prompts", "no such folder")),
        (["--requests-per-minute=0"], ("requests_per_minute",)),
        (["--requests-per-minute=inf"], ("requests_per_minute",)),
    ],
    ids=str,
)
def test_bad_options_are_named(
    options: list[str], told: tuple[str, ...], shop: Shop, call, tmp_path: Path
) -> None:
    refused(call(*options, data=shop()), tmp_path / "run", *told)


def test_a_prompt_without_its_placeholder(shop: Shop, call, tmp_path: Path) -> None:
    own = tmp_path / "prompts"
    own.mkdir()
    (own / "recommend.md").write_text("Rank $candidates for $history. $hint")
    refused(
        call(f"--prompts={own}", data=shop()), tmp_path / "run", "recommend.md", "$count", "lacks"
    )


def test_the_folder_of_another_run(
    finished, settings_for: Callable[..., RunSettings], planted: PlantedSessions
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}
    arguments = ["demo", f"--data={planted.folder}", f"--run={finished.folder}"]
    result = CliRunner().invoke(app, [*arguments, "--embeddings=hashed"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "name another folder with --run" in result.stderr
    assert before == {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}


def test_a_folder_that_is_no_run(shop: Shop, call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    result = call(data=shop())
    assert result.exit_code == 2
    assert "not a run folder" in result.stderr
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_run_folder_below_a_file(shop: Shop, call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = call(f"--run={tmp_path / 'file' / 'run'}", data=shop())
    refused(result, tmp_path / "run", "cannot be written", "--run")


def test_debug_shows_the_traceback_too(call, tmp_path: Path) -> None:
    result = call("--debug", data=tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_options_of_the_wrong_type_are_told_by_the_command_line(call, tmp_path: Path) -> None:
    for option in ("--seed=-1", "--max-hints=0", "--concurrency=many", "--unknown"):
        result = call(option, data=None)
        assert result.exit_code == 2
        assert option.split("=")[0] in result.stderr
    assert not (tmp_path / "run").exists()


def test_help_says_that_it_can_be_stopped_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = CliRunner().invoke(app, ["demo", "--help"])
    assert told.exit_code == 0
    assert "Ctrl-C" in told.stdout
    assert "resumes" in told.stdout
    for name in ("demo", "data"):
        assert name in CliRunner().invoke(app, ["--help"]).stdout


def test_the_defaults_in_the_help_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    told = CliRunner().invoke(app, ["demo", "--help"]).stdout
    settings = RunSettings()
    defaults = {name: value for name, value in settings if name not in {"llm", "limits"}}
    defaults["concurrency"] = settings.limits.max_concurrency
    defaults["policy"] = settings.policy.kind
    lines = [line for line in told.splitlines() if " Default: " in line]
    shown = {name: f"--{name.replace('_', '-')} " for name in defaults}
    wrong = [
        line
        for line in lines
        for name, option in shown.items()
        if option in line and defaults[name] is not None
        if f"Default: {defaults[name]}." not in line
    ]
    assert wrong == []
    assert sum(option in line for line in lines for option in shown.values()) >= 9


def test_settings_from_a_file_are_used_and_named(call, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[limits]\nmax_concurency = 3")
    refused(
        call(f"--config={file}", data=None),
        tmp_path / "run",
        f"{file}:2",
        "'limits.max_concurency'",
        "did you mean max_concurrency?",
    )
    file.write_text('data = "nowhere"')
    result = call(f"--config={file}", data=None)
    assert result.stdout == f"Settings from {file}\n"
    refused(result, tmp_path / "run", str(tmp_path / "nowhere"))


def test_a_misspelt_variable_is_refused(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTREC_MAXHINTS", "3")
    refused(call(data=None), tmp_path / "run", "'AGENTREC_MAXHINTS'", "AGENTREC_MAX_HINTS")


def test_options_that_are_out_of_range_are_named(call, tmp_path: Path) -> None:
    for option, setting in (
        ("--limit-tokens=-1", "budget.tokens"),
        ("--limit-cost=nan", "budget.money"),
        ("--tokens-per-minute=0", "limits.tokens_per_minute"),
    ):
        refused(call(option, data=None), tmp_path / "run", f"'{setting}'", option.split("=")[0])


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.stdout.split()[0]) == (0, "agentrec")


def test_fetching_what_is_not_known(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "fetch", "nonsense", f"--out={tmp_path / 'out'}"])
    refused(result, tmp_path / "out", "'nonsense'", "ml-100k")
    result = CliRunner().invoke(app, ["data", "fetch", "ml-100k", "--negatives=hard"])
    refused(result, tmp_path / "out", "'hard'")


@pytest.mark.parametrize("name", ["missing.zip", "broken.zip"])
def test_a_zip_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.zip").write_bytes(os.urandom(64))
    result = CliRunner().invoke(app, ["data", "fetch", "ml-100k", f"--zip={tmp_path / name}"])
    refused(result, tmp_path / "out", name)
