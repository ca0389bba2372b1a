"""Where settings come from, who has the last word, and what is said of a wrong one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from settings.conftest import Write, error_of

from agentrec.settings.run_settings import RunSettings
from agentrec.settings.sources import load_settings


def loaded(given: Mapping[str, Any] | None = None, config: Path | None = None) -> RunSettings:
    return load_settings(given, config)[0]


def test_nothing_said_is_the_defaults() -> None:
    assert load_settings() == (RunSettings(), None)


# Each place says another number; a later one has the last word over those before it.
PLACES = ("default", "file", "environment", "command line")
SETTINGS: Mapping[tuple[str, ...], tuple[int, int, int, int]] = {
    ("max_hints",): (20, 1, 2, 3),
    ("limits", "max_concurrency"): (64, 1, 2, 3),
    ("budget", "tokens"): (None, 1, 2, 3),  # type: ignore[dict-item]
    ("llm", "shuffles"): (1, 2, 3, 4),
}


@pytest.mark.parametrize("keys", SETTINGS, ids=".".join)
@pytest.mark.parametrize("format_", ["toml", "yaml"])
@pytest.mark.parametrize(
    ("lower", "higher"),
    [(low, high) for n, low in enumerate(PLACES) for high in PLACES[n + 1 :]],
)
def test_of_two_places_the_later_has_the_last_word(
    keys: tuple[str, ...],
    format_: str,
    lower: str,
    higher: str,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = dict(zip(PLACES, SETTINGS[keys], strict=True))
    given: dict[str, Any] = {}
    for place in (lower, higher):
        if place == "file":
            head = f"[{keys[0]}]\n" if len(keys) > 1 else ""
            toml = f"{head}{keys[-1]} = {numbers[place]}\n"
            above = f"{keys[0]}:\n  " if len(keys) > 1 else ""
            yaml = f"{above}{keys[-1]}: {numbers[place]}\n"
            write(toml if format_ == "toml" else yaml, f"agentrec.{format_}")
        elif place == "environment":
            monkeypatch.setenv("AGENTREC_" + "__".join(keys).upper(), str(numbers[place]))
        elif place == "command line":
            given = {keys[-1]: numbers[place]}
            given = {keys[0]: given} if len(keys) > 1 else given
    found: Any = loaded(given)
    for key in keys:
        found = getattr(found, key)
    assert found == numbers[higher]


def test_places_are_put_together_setting_by_setting(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('llm = "openai:from-file"\n[limits]\nmax_concurrency = 2\nrequests_per_minute = 30\n')
    monkeypatch.setenv("AGENTREC_LIMITS__MAX_CONCURRENCY", "3")
    monkeypatch.setenv("AGENTREC_LLM__TEMPERATURE", "0.25")
    monkeypatch.setenv("AGENTREC_LLM__PARAMETERS__MAX_TOKENS", "9")
    monkeypatch.setenv("AGENTREC_PROMPTS", "")
    settings = loaded({"limits": {"tokens_per_minute": 5}})
    assert settings.llm.name == "openai:from-file"
    assert settings.llm.given == {"temperature": 0.25, "max_tokens": 9}
    limits = settings.limits.limits()
    assert (limits.max_concurrency, limits.requests_per_minute) == (3, 30)
    assert limits.tokens_per_minute == 5
    assert settings.prompts is None


def test_a_model_by_its_name_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTREC_LLM", "openai:a")
    monkeypatch.setenv("AGENTREC_LLM__SHUFFLES", "2")
    assert loaded().llm.name == "openai:a"
    assert loaded().llm.shuffles == 2
    assert loaded({"llm": {"name": "openai:b"}}).llm.name == "openai:b"


def test_a_named_file_counts_and_not_the_one_that_lies_here(write: Write, tmp_path: Path) -> None:
    write("seed = 1")
    named = write("seed: 2", "mine.yaml")
    assert loaded().seed == 1
    assert load_settings({}, named) == (RunSettings(seed=2), named)
    assert loaded(config=write("", "empty.yaml")) == RunSettings()
    write("seed: 3", "agentrec.yml")
    assert "--config" in str(error_of())


def test_paths_in_a_file_are_seen_from_the_file(tmp_path: Path, write: Write) -> None:
    (tmp_path / "deep").mkdir()
    file = write('data = "shop"\nprompts = "/mine"\n', "deep/mine.toml")
    settings = loaded(config=file)
    assert (settings.data, settings.prompts) == (tmp_path / "deep/shop", Path("/mine"))
    assert settings.run == Path("runs/demo")


def test_prices_and_the_rest_reach_what_the_gateway_takes(write: Write) -> None:
    write(
        """
        [llm]
        temperature = "provider"
        timeout = 7
        [retries]
        max_attempts = 2
        [budget]
        money = 1.5
        [prices]
        currency = "EUR"
        [prices.models."openai:m"]
        input = 1
        output = 2.5
        """
    )
    settings = loaded()
    assert settings.llm.given == {"temperature": None}
    policy = settings.retries.policy(settings.llm.timeout)
    assert (policy.max_attempts, policy.timeout) == (2, 7)
    budget = settings.budget.budget()
    assert budget is not None
    assert (budget.tokens, budget.money) == (None, 1.5)
    price = settings.prices.table().price("openai:m@12345678")
    assert price is not None
    assert (price.input, price.output) == (1, 2.5)
    assert settings.prices.table().shown(1) == "1.0000 EUR"


WRONG: Mapping[str, tuple[str, int | None, str, str]] = {
    "an unknown name": ("seed = 1\nmax_hint = 3", 2, "max_hint", "did you mean max_hints?"),
    "an unknown name in a section": (
        "[limits]\n\nrequest_per_minute = 3",
        3,
        "limits.request_per_minute",
        "did you mean requests_per_minute?",
    ),
    "nothing like it": (
        "[llm]\nzzz = 1",
        2,
        "llm.zzz",
        "known settings: name, temp",
    ),
    "an unknown section": ("seed = 1\n[limit]\nx = 1", 2, "limit", "did you mean limits?"),
    "a text for a number": ('seed = "5"', 1, "seed", "must be a valid integer, not '5'"),
    "a flag for a number": ("seed = true", 1, "seed", "must be a valid integer, not True"),
    "out of range": (
        "[limits]\nrequests_per_minute = -1",
        2,
        "limits.requests_per_minute",
        "must be greater than 0, not -1",
    ),
    "endless": ("[budget]\nmoney = inf", 2, "budget.money", "must be a finite number"),
    "none of those": (
        '[llm]\nstructured = "always"',
        2,
        "llm.structured",
        "must be 'auto' or 'never', not 'always'",
    ),
    "no temperature": ("[llm]\ntemperature = -1", 2, "llm.temperature", "at least 0"),
    "no address": ('[llm]\nbase_url = "localhost"', 2, "llm.base_url", "http://127.0.0.1:8000/v1"),
    "a value for a section": (
        "limits = 5",
        1,
        "limits",
        "must be a section with requests_per",
    ),
    "half a price": ('[prices.models."a:b"]\ninput = 1', 1, "prices.models.a:b.output", "missing"),
    "a price in short": ("prices.models.m = 3", 1, "prices.models.m", "must be a section"),
    "set elsewhere": (
        "[llm.parameters]\nmax_retries = 3",
        1,
        "llm.parameters",
        "max_retries is set by retries.max_attempts",
    ),
    "no TOML": ("seed = 1\nseed 2", 2, "", "is not TOML"),
    "cut off": ('seed = 1\n[llm]\nname = "a', 3, "", "is not TOML"),
    "twice": ("seed = 1\nseed = 2", 2, "", "is not TOML"),
}


@pytest.mark.parametrize(("text", "line", "field", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named_by_file_line_and_field(
    text: str, line: int | None, field: str, told: str, write: Write
) -> None:
    file = write(text, "wrong.toml")
    error = error_of(config=file)
    assert error.file == file
    assert (error.line, error.field or "") == (line, field)
    assert told in error.problem


@pytest.mark.parametrize(
    ("text", "line", "field", "told"),
    [
        ("seed: 1\nllm:\n  temperatur: 1", 3, "llm.temperatur", "did you mean temperature?"),
        ("seed: 1\nseed: 2", 2, "seed", "is set twice"),
        ("seed: [1", 1, "", "is not YAML"),
        ("- seed", 1, "", "must be a mapping"),
        ("seed: 1\n---\nseed: 2", 2, "", "is not YAML"),
        ("seed: !!python/object:os.system x", None, "", "is not YAML"),
        ("seed: 2020-01-01", 1, "seed", "must be a valid integer"),
    ],
)
def test_yaml_is_no_less_exact(
    text: str, line: int | None, field: str, told: str, write: Write
) -> None:
    error = error_of(config=write(text, "wrong.yaml"))
    assert (error.field or "", told in error.problem) == (field, True), error
    if line is not None:
        assert error.line == line


def test_files_that_cannot_be_read(tmp_path: Path, write: Write) -> None:
    assert "cannot be read" in str(error_of(config=tmp_path / "none.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"seed = '\xff'")
    assert "UTF-8" in str(error_of(config=tmp_path / "bytes.toml"))
    assert ".toml" in str(error_of(config=write("", "settings.json")))
    assert "deeply" in str(error_of(config=write("a: " + "[" * 5000, "deep.yaml")))


KEYS = ("api_key", "openai_api_key", "apiKey", "token", "hf_token", "client_secret", "password")


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("place", ["parameters", "headers", "llm", "top"])
def test_keys_are_refused_and_never_told(name: str, place: str, write: Write) -> None:
    heads = {"parameters": "llm.parameters.", "llm": "llm.", "top": ""}
    heads["headers"] = "llm.parameters.default_headers."
    secret = "sk-1234567890abcdef"
    error = error_of(config=write(f'seed = 1\n{heads[place]}{name} = "{secret}"', "keys.toml"))
    assert error.field == heads[place] + name
    assert error.line == 2
    assert "provider's environment variable" in error.problem
    assert secret not in str(error)


def test_keys_are_refused_elsewhere_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTREC_LLM__PARAMETERS__API_KEY", "hush-hush")
    error = error_of()
    assert error.field == "AGENTREC_LLM__PARAMETERS__API_KEY"
    assert "hush" not in str(error)


def test_what_sounds_like_a_key_and_is_none(write: Write) -> None:
    write("[llm.parameters]\nmax_tokens = 5\neos_token = 'x'\n[budget]\ntokens = 3\n")
    assert loaded().llm.given == {"max_tokens": 5, "eos_token": "x"}


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTREC_CACHE", "/somewhere")
    loaded()
    for name, value, told in (
        ("AGENTREC_SEDE", "1", "did you mean AGENTREC_SEED?"),
        ("AGENTREC_ZZZ", "1", "known settings: AGENTREC_BACKBONE, AGENTREC_BUDGET"),
        ("AGENTREC_LIMITS__RATE", "1", "is not a setting"),
        ("AGENTREC_SEED", "x", "must be a valid integer, not 'x'"),
        ("AGENTREC_LIMITS", "x", "must be a section"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            error = error_of()
            assert error.field == name
            assert told in error.problem


def test_a_wrong_file_is_told_of_even_where_its_setting_would_not_count(write: Write) -> None:
    write("seed = -1")
    assert error_of({"seed": 3}).line == 1
