"""Pictures of training, as PNG or SVG: the same points give the same bytes.

Drawing blocks for about a second: callers in an event loop run it in a thread. The bytes depend
on the version of matplotlib, but on no setting of the process.
"""

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

_FORMATS = (".png", ".svg")
_INCHES = (8, 5)
_DPI = 100
_MAX_TITLE = 90
_BLUE, _ORANGE, _GREY, _GREEN = "#0b5fa5", "#c8641e", "#4a4a4a", "#2e7d32"

# Settings of matplotlib belong to the process: two pictures at once would undo each other's.
_SETTINGS = Lock()

_Line = list[tuple[int, float]]


def draw_learning_curve(
    file: Path,
    *curves: Sequence[CurvePoint],
    best_single: float | None = None,
    title: str = "",
) -> None:
    """Draw the gain and the entropy of a policy over the iterations of its training.

    A thin line is one network, a thick one the mean of all; a dot is the selected iterate of a
    network.

    Args:
        file: What to write, by its ending; an existing file is replaced in one step.
        curves: One per training run, each with one or more members; at least one point in all.
        best_single: Mean validation gain of the best single hint, for comparison.
        title: Shown above, in one line; none if empty.

    Raises:
        InputError: The name ends with neither ``.png`` nor ``.svg``.
        ValueError: There is nothing to draw.
        OSError: The file cannot be written.
    """
    members = [
        sorted((one for one in curve if one.member == member), key=lambda one: one.iteration)
        for curve in curves
        for member in sorted({one.member for one in curve})
    ]
    _write(file, bool(members), lambda: _learning_curve(members, best_single, title))


def draw_alignment(
    file: Path, points: Sequence[AlignmentPoint], *, kept_step: int | None = None, title: str = ""
) -> None:
    """Draw loss, reward margin and accuracy of an alignment over its steps.

    Fine-tuning has no rewards: its share of right tokens is drawn instead. ``kept_step`` is
    marked with a line; otherwise see ``draw_learning_curve``.
    """
    _write(file, bool(points), lambda: _alignment(points, kept_step, title))


def _write(file: Path, drawable: bool, draw: Callable[[], Figure]) -> None:
    suffix = file.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(f"a picture's name ends with {' or '.join(_FORMATS)}", file=file)
    if not drawable:
        raise ValueError("there is no point to draw")
    with _default_settings():
        content = io.BytesIO()
        # No date, and no version: equal pictures are equal files.
        nameless = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
        draw().savefig(content, format=suffix[1:], dpi=_DPI, metadata=nameless)
    write_atomically(file, content.getvalue())


@contextmanager
def _default_settings() -> Iterator[None]:
    """Use matplotlib's own settings, and restore the process's."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    with _SETTINGS:
        try:
            # Its first import logs that it lists the fonts.
            logger.setLevel(logging.ERROR)
            from matplotlib import rc_context, rcdefaults, rcParams

            with rc_context(), catch_warnings():
                # A character that the font lacks is drawn as a box.
                filterwarnings("ignore", message="Glyph .* missing from font")
                rcdefaults()
                rcParams["svg.hashsalt"] = "agentrec"
                yield
        finally:
            logger.setLevel(level)


def _learning_curve(
    members: list[list[CurvePoint]], best_single: float | None, title: str
) -> Figure:
    figure, (gains, entropies) = _panels(3, 1)
    _draw_members(gains, members, lambda one: one.train_gain, "training sessions", _ORANGE)
    _draw_members(gains, members, lambda one: one.valid_gain, "validation sessions", _BLUE)
    selected = [
        (one.iteration + 1, one.train_gain if one.valid_gain is None else one.valid_gain)
        for points in members
        for one in points
        if one.selected
    ]
    if selected:
        at, values = zip(*selected, strict=True)
        (dots,) = gains.plot(at, values, "o", label="selected", zorder=5)
        dots.set(markersize=6, markerfacecolor="white", markeredgecolor="black")
    gains.axhline(0, color="black", linewidth=1, linestyle="--", label="no hint")
    if best_single is not None:
        gains.axhline(
            best_single, color=_GREEN, linewidth=1.5, linestyle="-.", label="best single hint"
        )
    gains.set_ylabel("mean gain over no hint\n(NDCG@10)")
    gains.margins(y=0.08)
    _draw_members(entropies, members, lambda one: one.entropy, "entropy", _GREY)
    entropies.margins(y=0.15)
    entropies.set_ylim(bottom=0)
    entropies.set_ylabel("entropy\n(nats)")
    last = max(one.iteration + 1 for points in members for one in points)
    _finish(figure, title, "iterations done", last)
    return figure


def _draw_members(
    axes: Axes,
    members: list[list[CurvePoint]],
    value: Callable[[CurvePoint], float | None],
    label: str,
    colour: str,
) -> None:
    """A thin line for each network with values, and their mean as a thick one."""
    lines = [_line([(one.iteration + 1, value(one)) for one in points]) for points in members]
    lines = [line for line in lines if line]
    if not lines:
        return
    if len(lines) > 1:
        for line in lines:
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=0.8, alpha=0.4)
    at: dict[int, list[float]] = {}
    for done, number in (point for line in lines for point in line):
        at.setdefault(done, []).append(number)
    mean = [(done, sum(numbers) / len(numbers)) for done, numbers in sorted(at.items())]
    _plot(axes, mean, label, colour, 2.2)


def _alignment(points: Sequence[AlignmentPoint], kept_step: int | None, title: str) -> Figure:
    panels: list[tuple[str, Callable[[AlignmentPoint], float | None], float | None]]
    panels = [("loss\n(nats)", lambda point: point.loss, None)]
    if any(point.margin is not None for point in points):
        panels.append(("reward margin\n(nats x beta)", lambda point: point.margin, 0.0))
        panels.append(("share of pairs\nin order", lambda point: point.accuracy, 0.5))
    else:
        panels.append(("share of tokens\nright", lambda point: point.token_accuracy, None))
    figure, rows = _panels(*(1 for _ in panels))
    parts = (("train", "pairs of the step", _ORANGE, 1.0), ("held_out", "pairs kept out", _BLUE, 2))
    for axes, (name, value, reference) in zip(rows, panels, strict=True):
        for part, label, colour, width in parts:
            line = _line([(point.step, value(point)) for point in points if point.part == part])
            # Held-out evaluations are few: each is a dot.
            _plot(axes, line, label, colour, width, dots=part == "held_out")
        if reference is not None:
            axes.axhline(reference, color="black", linewidth=1, linestyle="--")
        if kept_step is not None:
            axes.axvline(kept_step, color=_GREEN, linewidth=1.2, label="kept")
        axes.set_ylabel(name)
        axes.margins(y=0.1)
    _finish(figure, title, "optimiser steps done", max(point.step for point in points))
    return figure


def _line(points: Sequence[tuple[int, float | None]]) -> _Line:
    return [(at, float(number)) for at, number in points if number is not None]


def _plot(
    axes: Axes, line: _Line, label: str, colour: str, width: float, *, dots: bool = False
) -> None:
    if line:
        # A line of one point would not be seen.
        marker = "o" if dots or len(line) == 1 else ""
        axes.plot(
            *zip(*line, strict=True),
            color=colour,
            linewidth=width,
            marker=marker,
            markersize=4,
            label=label,
        )


def _panels(*heights: float) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel for each height, one below the other, over the same steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    return figure, figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)


def _finish(figure: Figure, title: str, unit: str, last: int) -> None:
    """Title, grid, legend and the axis of the steps, which are ``unit``, up to ``last``."""
    from matplotlib.ticker import MaxNLocator

    for axes in figure.axes:
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    # Of one step alone, matplotlib would show a thousandth.
    axes.set_xlim(0, 1 + last)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    top = figure.axes[0]
    if title:
        # A dollar sign would start a formula.
        top.set_title(clean_text(title, _MAX_TITLE), fontsize=11, loc="left", parse_math=False)
    # Beside the panels, so that it covers no line.
    figure.legend(
        *top.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=9,
        columnspacing=1.4,
        handlelength=1.8,
    )
