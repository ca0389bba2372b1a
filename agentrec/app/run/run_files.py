"""Writing into a run folder, and what is said where that cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentrec.errors import InputError


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Tell in one line of a file or folder that cannot be written.

    Args:
        place: What is written inside.

    Raises:
        InputError: If the system refused.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", file=place) from error
