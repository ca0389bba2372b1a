"""Keys and passwords: parameters that hold one, and messages that may contain one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import SecretBytes, SecretStr

from agentrec.catalog import clean_text

_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAME = re.compile(
    r"(^|_)(key|api_?key|secret|password|passwd|passphrase|credentials|authorization|headers)$"
)
# Not every "token": ``eos_token`` and the like are texts that a model writes.
_SECRET_TOKEN = re.compile(
    r"(^|_)(access|auth|api|bearer|hub|hf|refresh|secret|session|security|aws_session)_token$"
    r"|^token$"
)

_MAX_LINE = 300
_MASK = "***"
_SHORTEST_KEY = 8

_SECRET_TEXTS = (
    # sk-..., pk_..., gsk_..., xai-..., hf_..., AIza...: the shapes of providers' keys.
    re.compile(r"\b(?P<kept>(?:g?sk|[pr]k|xai|hf)[-_]|AIza)[\w\-*]{6,}"),
    re.compile(r"(?i)(?P<kept>\b(?:bearer|basic)\s+)[^\s\"',}]+"),
    # A password in an address.
    re.compile(r"(?P<kept>://)[^/\s@]+(?=@)"),
    # Text that looks random, or is too long for a word, shortly after a word for a secret.
    re.compile(
        r"(?i)(?P<kept>(?:key|token|secret|password|authorization)\b.{0,24}?)"
        r"(?<![\w\-])(?:(?=[a-z_\-+/=.~*]*\d)[\w\-+/=.~*]{12,}|[\w\-+/=.~*]{24,})"
    ),
)


def is_secret_name(name: str) -> bool:
    """Return whether a parameter of this name may hold a secret.

    >>> [is_secret_name(name) for name in ("api_key", "X-Api-Key", "accessToken", "max_tokens")]
    [True, True, True, False]
    """
    snake = _SNAKE.sub("_", name).replace("-", "_").lower()
    return bool(_SECRET_NAME.search(snake) or _SECRET_TOKEN.search(snake))


def without_secrets(value: object) -> object:
    """Return a copy of nested mappings and lists without any entry that has a secret's name."""
    if isinstance(value, Mapping):
        kept = {key: value[key] for key in value if not is_secret_name(str(key))}
        return {key: without_secrets(inner) for key, inner in kept.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return value


def secret_paths(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every entry in nested mappings and lists that has a secret's name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            here = (*path, str(key))
            if is_secret_name(str(key)) and not isinstance(inner, Mapping):
                yield here
            else:
                yield from secret_paths(inner, here)
    if isinstance(value, list | tuple):
        for inner in value:
            yield from secret_paths(inner, path)


def secrets_of(model: object) -> tuple[str, ...]:
    """Return the keys of a chat model, as far as its fields are declared secret."""
    fields = (field for field in vars(model).values() if isinstance(field, SecretStr | SecretBytes))
    values = (field.get_secret_value() for field in fields)
    texts = (text if isinstance(text, str) else text.decode("utf-8", "replace") for text in values)
    # Shorter texts are not keys, and masking them would mask harmless words.
    return tuple(text for text in texts if len(text) >= _SHORTEST_KEY)


def masked(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a foreign message as one capped line, with ``***`` for what looks like a secret.

    Args:
        text: The message.
        secrets: Texts that are secrets whatever they look like.
    """
    # Before the cap: half a key would not be recognised.
    for known in secrets:
        text = text.replace(known, _MASK)
    for pattern in _SECRET_TEXTS:
        text = pattern.sub(rf"\g<kept>{_MASK}", text)
    return clean_text(text, _MAX_LINE)
