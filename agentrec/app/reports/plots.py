"""Writing matplotlib's figures: the same bytes for the same figure, whatever else is going on."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

from agentrec.atomic_files import write_atomically
from agentrec.catalog import clean_text
from agentrec.errors import InputError
from agentrec.policies.alignment.training_folder import AlignmentPoint
from agentrec.policies.ppo.config import CurvePoint

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


_VALID, _TRAIN, _ENTROPY = "#0b5fa5", "#c8641e", "#4a4a4a"
_REFERENCE = "#2e7d32"

_Line = list[tuple[int, float]]


def draw_learning_curve(
    file: Path,
    *curves: Sequence[CurvePoint],
    best_single: float | None = None,
    title: str = "",
) -> None:
    """Draw how training went, and write it as PNG or SVG, whichever the name ends with.

    A thin line is one network, a thick one the mean of all; a dot is the iterate that a network
    ended up with. It blocks for about a second: callers in an event loop run it in a thread. The
    same points give the same bytes with the same version of matplotlib.

    Args:
        file: What to write; a file that is there is replaced in one step.
        curves: One a training run, each with one or more members; at least one point in all.
        best_single: Mean validation gain of the best single hint, -1 to 1, for comparison.
        title: Shown above, in one line; none if empty.

    Raises:
        InputError: The name ends with neither ``.png`` nor ``.svg``.
        ValueError: There is nothing to draw.
        OSError: The file cannot be written.
    """
    check_format(file)
    members = [
        sorted((one for one in curve if one.member == member), key=lambda one: one.iteration)
        for curve in curves
        for member in sorted({one.member for one in curve})
    ]
    if not members:
        raise ValueError("there is no point to draw")
    write_picture(file, lambda: _figure(members, best_single, title))


def _figure(members: list[list[CurvePoint]], best_single: float | None, title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, layout="constrained")
    gains, entropies = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw(gains, _lines(members, lambda one: one.train_gain), "training sessions", _TRAIN)
    valid = _lines(members, lambda one: one.valid_gain)
    _draw(gains, valid, "validation sessions", _VALID)
    _mark_selected(gains, members)
    gains.axhline(0, color="black", linewidth=1, linestyle="--", label="no hint")
    if best_single is not None:
        gains.axhline(
            best_single, color=_REFERENCE, linewidth=1.5, linestyle="-.", label="best single hint"
        )
    gains.set_ylabel("mean gain over no hint\n(NDCG@10)")
    gains.margins(y=0.08)
    _draw(entropies, _lines(members, lambda one: one.entropy), "entropy", _ENTROPY)
    entropies.margins(y=0.15)
    entropies.set_ylim(bottom=0)
    # Of one iteration alone, matplotlib would show a thousandth.
    entropies.set_xlim(0, 1 + max(one.iteration + 1 for points in members for one in points))
    entropies.set_ylabel("entropy\n(nats)")
    entropies.set_xlabel("iterations done")
    entropies.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (gains, entropies):
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    set_title(gains, title)
    # Beside the panels, so that it covers no line.
    figure.legend(
        *gains.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=9,
        columnspacing=1.4,
        handlelength=1.8,
    )
    return figure


def _lines(
    members: list[list[CurvePoint]], value: Callable[[CurvePoint], float | None]
) -> list[_Line]:
    """For each network the iterations done and the value, where there is one."""
    lines = []
    for points in members:
        known = [(one.iteration + 1, value(one)) for one in points]
        lines.append([(done, float(number)) for done, number in known if number is not None])
    return [line for line in lines if line]


def _draw(axes: Axes, lines: list[_Line], label: str, colour: str) -> None:
    """Thin lines, and their mean as a thick one."""
    if not lines:
        return
    if len(lines) > 1:
        for line in lines:
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=0.8, alpha=0.4)
    at: dict[int, list[float]] = {}
    for line in lines:
        for done, number in line:
            at.setdefault(done, []).append(number)
    mean = [(done, sum(numbers) / len(numbers)) for done, numbers in sorted(at.items())]
    # A line of one point would not be seen.
    marker = "o" if len(mean) == 1 else ""
    axes.plot(*zip(*mean, strict=True), color=colour, linewidth=2.2, label=label, marker=marker)


def _mark_selected(axes: Axes, members: list[list[CurvePoint]]) -> None:
    """A dot on each network's own line where it ended up, on validation if it was looked at."""
    places = [
        (one.iteration + 1, one.train_gain if one.valid_gain is None else one.valid_gain)
        for points in members
        for one in points
        if one.selected
    ]
    if places:
        axes.plot(
            *zip(*places, strict=True),
            linestyle="",
            marker="o",
            markersize=6,
            markerfacecolor="white",
            markeredgecolor="black",
            label="selected",
            zorder=5,
        )


_COLOURS = {"train": "#c8641e", "held_out": "#0b5fa5"}
_LABELS = {"train": "pairs of the step", "held_out": "pairs kept out"}

_Value = Callable[[AlignmentPoint], float | None]


def draw_alignment(
    file: Path, points: Sequence[AlignmentPoint], *, kept_step: int | None = None, title: str = ""
) -> None:
    """Draw loss, reward margin and accuracy over the steps, as PNG or SVG by the file's name.

    Of fine-tuning, which has no rewards, the loss and the share of right tokens. It blocks for
    about a second: callers in an event loop run it in a thread. The same points give the same
    bytes with the same version of matplotlib.

    Args:
        file: What to write; a file that is there is replaced in one step.
        points: At least one.
        kept_step: The step whose state was kept, marked with a line.
        title: Shown above, in one line; none if empty.

    Raises:
        InputError: The name ends with neither ``.png`` nor ``.svg``.
        ValueError: There is nothing to draw.
        OSError: The file cannot be written.
    """
    check_format(file)
    if not points:
        raise ValueError("there is no point to draw")
    write_picture(file, lambda: _alignment_figure(points, kept_step, title))


def _alignment_figure(
    points: Sequence[AlignmentPoint], kept_step: int | None, title: str
) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rewarded = any(point.margin is not None for point in points)
    panels: list[tuple[str, _Value, float | None]] = [("loss\n(nats)", lambda p: p.loss, None)]
    if rewarded:
        panels.append(("reward margin\n(nats x beta)", lambda p: p.margin, 0.0))
        panels.append(("share of pairs\nin order", lambda p: p.accuracy, 0.5))
    else:
        panels.append(("share of tokens\nright", lambda p: p.token_accuracy, None))
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True)
    for axes, (name, value, reference) in zip(rows, panels, strict=True):
        for part, colour in _COLOURS.items():
            _draw_points(axes, [point for point in points if point.part == part], value, colour)
        if reference is not None:
            axes.axhline(reference, color="black", linewidth=1, linestyle="--")
        if kept_step is not None:
            axes.axvline(kept_step, color="#2e7d32", linewidth=1.2, label="kept")
        axes.set_ylabel(name)
        axes.margins(y=0.1)
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlim(0, 1 + max(point.step for point in points))
    rows[-1].set_xlabel("optimiser steps done")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    set_title(rows[0], title)
    figure.legend(
        *rows[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    return figure


def _draw_points(axes: Axes, points: Sequence[AlignmentPoint], value: _Value, colour: str) -> None:
    known = [(point.step, value(point)) for point in points]
    line = [(step, number) for step, number in known if number is not None]
    if not line:
        return
    # Looks at the pairs kept out are few: each is a dot; so is a line of one point.
    part = points[0].part
    marker = "o" if part == "held_out" or len(line) == 1 else ""
    width = 2.0 if part == "held_out" else 1.0
    axes.plot(
        *zip(*line, strict=True),
        color=colour,
        linewidth=width,
        marker=marker,
        markersize=4,
        label=_LABELS[part],
    )
