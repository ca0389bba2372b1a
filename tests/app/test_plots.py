import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from struct import unpack
from typing import Any

import matplotlib as mpl
import pytest

from agentrec.app.reports import plots
from agentrec.app.reports.plots import draw_learning_curve
from agentrec.errors import InputError
from agentrec.policies.ppo.config import CurvePoint


def _curve(seed: int = 0, members: int = 2, validate_every: int = 1) -> list[CurvePoint]:
    return [
        CurvePoint(
            member=member,
            iteration=iteration,
            sampled_gain=0.0,
            train_gain=0.01 * iteration + 0.001 * seed,
            entropy=3 - 0.1 * iteration,
            valid_gain=0.005 * iteration - 0.02 * member
            if (iteration + 1) % validate_every == 0
            else None,
            selected=iteration == 5 + member,
        )
        for iteration in range(10)
        for member in range(members)
    ]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn."""
    figures: list[Any] = []
    original: Callable[..., Any] = plots._learning_curve

    def kept(*arguments: Any) -> Any:
        figures.append(original(*arguments))
        return figures[-1]

    monkeypatch.setattr(plots, "_learning_curve", kept)
    return figures


def _named(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_a_png_is_as_large_as_it_is_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "curve.PNG"
    draw_learning_curve(file, _curve())
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert unpack(">II", content[16:24]) == (800, 500)
    assert b"matplotlib" not in content.lower()
    assert [path.name for path in file.parent.iterdir()] == ["curve.PNG"]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_points_give_the_same_bytes_and_others_do_not(suffix: str, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}{suffix}" for name in "abc")
    draw_learning_curve(first, _curve(), best_single=0.03)
    draw_learning_curve(third, _curve(seed=9))
    draw_learning_curve(second, _curve(), best_single=0.03)
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()
    if suffix == ".svg":
        assert first.read_text("utf-8").startswith("<?xml")
        assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT", first.read_text("utf-8"))


def test_a_thin_line_is_a_network_and_a_thick_one_their_mean(
    tmp_path: Path, seen: list[Any]
) -> None:
    draw_learning_curve(tmp_path / "a.png", _curve(0), _curve(1), best_single=0.03, title="t")
    gains, entropies = seen[0].axes
    named = _named(gains)
    assert list(named) == [
        "training sessions",
        "validation sessions",
        "selected",
        "no hint",
        "best single hint",
    ]
    thin = [line for line in gains.lines if line.get_linewidth() < 1]
    assert len(thin) == 8
    train = named["training sessions"]
    assert list(train.get_xdata()) == list(range(1, 11))
    assert list(train.get_ydata()) == pytest.approx([0.01 * at + 0.0005 for at in range(10)])
    assert train.get_linewidth() > 2
    valid = list(named["validation sessions"].get_ydata())
    assert valid == pytest.approx([0.005 * at - 0.01 for at in range(10)])
    selected = sorted(zip(*named["selected"].get_data(), strict=True))
    assert [done for done, _ in selected] == [6, 6, 7, 7]
    assert [gain for _, gain in selected] == pytest.approx([0.025, 0.025, 0.01, 0.01])
    assert set(named["no hint"].get_ydata()) == {0}
    assert set(named["best single hint"].get_ydata()) == {0.03}
    assert _named(entropies)["entropy"].get_ydata()[0] == pytest.approx(3)
    assert (entropies.get_xlabel(), entropies.get_ylabel()) == (
        "iterations done",
        "entropy\n(nats)",
    )
    assert gains.get_ylabel() == "mean gain over no hint\n(NDCG@10)"


def test_the_legend_covers_no_panel_and_all_is_inside_the_picture(
    tmp_path: Path, seen: list[Any]
) -> None:
    draw_learning_curve(tmp_path / "a.png", _curve(), best_single=0.03, title="A title")
    (figure,) = seen
    (legend,) = figure.legends
    frame = legend.get_window_extent()
    for axes in figure.axes:
        assert not frame.overlaps(axes.get_tightbbox())
    assert 0 <= frame.x0 < frame.x1 <= 800
    assert 0 <= frame.y0 < frame.y1 <= 500


def test_what_was_not_looked_at_in_an_iteration_is_left_out(
    tmp_path: Path, seen: list[Any]
) -> None:
    draw_learning_curve(tmp_path / "a.png", _curve(members=1, validate_every=4))
    named = _named(seen[0].axes[0])
    assert list(named["validation sessions"].get_xdata()) == [4, 8]
    # Not looked at where it was selected: the dot stands on the training line.
    assert list(named["selected"].get_ydata()) == [0.05]
    assert len([line for line in seen[0].axes[0].lines if line.get_linewidth() < 1]) == 0


def test_one_point_is_seen(tmp_path: Path, seen: list[Any]) -> None:
    draw_learning_curve(tmp_path / "a.png", _curve(members=1)[:1])
    assert _named(seen[0].axes[0])["training sessions"].get_marker() == "o"
    assert seen[0].axes[1].get_xlim() == (0, 2)


@pytest.mark.parametrize("title", ["$x_$ $\\bad{", "電影 films", "a\nb\x1b[0m" * 60])
def test_any_title_will_do(title: str, tmp_path: Path) -> None:
    draw_learning_curve(tmp_path / "a.png", _curve(), title=title)


def test_settings_of_the_process_neither_matter_nor_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_learning_curve(tmp_path / "a.svg", _curve())
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    monkeypatch.setitem(mpl.rcParams, "svg.hashsalt", "mine")
    logger = logging.getLogger("matplotlib")
    monkeypatch.setattr(logger, "level", logging.INFO)
    before = dict(mpl.rcParams)
    draw_learning_curve(tmp_path / "b.svg", _curve())
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert dict(mpl.rcParams) == before
    assert logger.level == logging.INFO


def test_pictures_may_be_drawn_in_several_threads(tmp_path: Path) -> None:
    draw_learning_curve(tmp_path / "alone.svg", _curve())
    files = [tmp_path / f"{at}.svg" for at in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda file: draw_learning_curve(file, _curve()), files))
    assert {file.read_bytes() for file in files} == {(tmp_path / "alone.svg").read_bytes()}


def test_matplotlib_comes_with_the_first_picture_and_says_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from agentrec.app.reports.plots import draw_learning_curve\n"
        "from agentrec.policies.ppo.config import CurvePoint\n"
        "print('matplotlib' in sys.modules)\n"
        "point = CurvePoint(member=0, iteration=0, sampled_gain=0, train_gain=0, entropy=0)\n"
        f"draw_learning_curve(Path({str(tmp_path / 'a.png')!r}), [point])\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path / "fonts")},
    )
    assert done.stdout.split() == ["False", "False"]
    assert done.stderr == ""


def test_what_cannot_be_drawn_is_refused_and_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "curve.pdf"
    with pytest.raises(InputError, match=r"\.png or \.svg") as refused:
        draw_learning_curve(file, _curve())
    assert refused.value.file == file
    old = tmp_path / "curve.png"
    old.write_text("old")
    for curves in ((), ([],), ([], [])):
        with pytest.raises(ValueError, match="no point"):
            draw_learning_curve(old, *curves)
    assert old.read_text() == "old"
