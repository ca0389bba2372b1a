"""The learning curve of a policy as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentrec.app.reports.pictures import DPI, HEIGHT, WIDTH, check_format, set_title, write_picture
from agentrec.policies.ppo.config import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
