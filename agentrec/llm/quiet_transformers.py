"""Keeping transformers' own progress bars for a fraction of a second of work off the screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switch the bars off, and back on afterwards if they were on."""
    were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if were_on:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
