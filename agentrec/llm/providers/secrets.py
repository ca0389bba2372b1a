"""Which parameters are keys to somebody's account, told by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAME = re.compile(
    r"(^|_)(key|api_?key|secret|password|passwd|passphrase|credentials|authorization|headers)$"
)
# Not every one: ``eos_token`` and its like are texts that a model writes.
_SECRET_TOKEN = re.compile(
    r"(^|_)(access|auth|api|bearer|hub|hf|refresh|secret|session|security|aws_session)_token$"
    r"|^token$"
)


def is_secret_name(name: str) -> bool:
    """Whether a parameter of this name holds a secret, or may.

    >>> [is_secret_name(name) for name in ("api_key", "X-Api-Key", "accessToken", "max_tokens")]
    [True, True, True, False]
    """
    snake = _SNAKE.sub("_", name).replace("-", "_").lower()
    return bool(_SECRET_NAME.search(snake) or _SECRET_TOKEN.search(snake))


def without_secrets(value: object) -> object:
    """The same without what has the name of a secret, however deep it stands."""
    if isinstance(value, Mapping):
        kept = {each: value[each] for each in value if not is_secret_name(str(each))}
        return {each: without_secrets(inner) for each, inner in kept.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return value


def secret_paths(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where in nested mappings and lists something has the name of a secret."""
    if isinstance(value, Mapping):
        for each, inner in value.items():
            here = (*path, str(each))
            if is_secret_name(str(each)) and not isinstance(inner, Mapping):
                yield here
            else:
                yield from secret_paths(inner, here)
    if isinstance(value, list | tuple):
        for inner in value:
            yield from secret_paths(inner, path)
