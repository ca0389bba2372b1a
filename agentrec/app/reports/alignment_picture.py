"""How the tuning of a language model went, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentrec.app.reports.pictures import DPI, HEIGHT, WIDTH, check_format, set_title, write_picture
from agentrec.policies.alignment.training_folder import AlignmentPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    write_picture(file, lambda: _figure(points, kept_step, title))


def _figure(points: Sequence[AlignmentPoint], kept_step: int | None, title: str) -> Figure:
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
            _draw(axes, [point for point in points if point.part == part], value, colour)
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


def _draw(axes: Axes, points: Sequence[AlignmentPoint], value: _Value, colour: str) -> None:
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
