"""Writing matplotlib's figures: the same bytes for the same figure, whatever else is going on."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

from agentrec.atomic_files import write_atomically
from agentrec.catalog import clean_text
from agentrec.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
WIDTH, HEIGHT = 800, 500
DPI = 100
_LONGEST_TITLE = 90

# Settings of matplotlib are the process's: two pictures at once would undo each other's.
_SETTINGS = Lock()


def check_format(file: Path) -> None:
    """Refuse a file that cannot be a picture.

    Raises:
        InputError: The name ends with neither ``.png`` nor ``.svg``.
    """
    if file.suffix.lower() not in FORMATS:
        raise InputError(f"a picture's name ends with {' or '.join(FORMATS)}", file=file)


def write_picture(file: Path, draw: Callable[[], Figure]) -> None:
    """Draw a figure and write it as PNG or SVG, by the file's name.

    It blocks for about a second: callers in an event loop run it in a thread. The same figure
    gives the same bytes with the same version of matplotlib.

    Args:
        file: What to write; a file that is there is replaced in one step.
        draw: Makes the figure, under matplotlib's own settings.

    Raises:
        InputError: The name ends with neither ``.png`` nor ``.svg``.
        OSError: The file cannot be written.
    """
    check_format(file)
    suffix = file.suffix.lower()
    with _plain_settings():
        content = io.BytesIO()
        # No date, and no version: equal pictures are equal files.
        nameless = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
        draw().savefig(content, format=suffix[1:], dpi=DPI, metadata=nameless)
    write_atomically(file, content.getvalue())


def set_title(axes: Axes, title: str) -> None:
    """Put a title, in one line, above a panel; none if empty."""
    if title:
        # A dollar sign would start a formula.
        axes.set_title(clean_text(title, _LONGEST_TITLE), fontsize=11, loc="left", parse_math=False)


@contextmanager
def _plain_settings() -> Iterator[None]:
    """Matplotlib as it comes, whatever a person's own settings, and as it was afterwards."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    with _SETTINGS:
        try:
            # At the first import ever it says that it is listing the fonts.
            logger.setLevel(logging.ERROR)
            from matplotlib import rc_context, rcdefaults, rcParams

            with rc_context(), catch_warnings():
                # A title in a script that its font lacks is drawn as boxes, and told about.
                filterwarnings("ignore", message="Glyph .* missing from font")
                rcdefaults()
                rcParams["svg.hashsalt"] = "agentrec"
                yield
        finally:
            logger.setLevel(level)
