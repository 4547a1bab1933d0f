"""Draws plots as SVG text; the same numbers give the same bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from benchmarks.tables.atari_scores import Profile

STYLE: Any = {
    "svg.hashsalt": "rl-datasets",
    "svg.fonttype": "none",
    "path.simplify": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
}
COLUMNS = 3  # at most
WIDTH = 11.4  # inches of 96 pixels in the SVG; several panels share it
PANEL_WIDTH, PANEL_HEIGHT = 8.0, 4.0  # inches, at most
PANEL_SHAPE = 0.74  # height by width
BAR_HEIGHT = 0.09  # inches, at least
TITLE_CHARACTERS = 9.5  # to an inch

Curve = tuple[np.ndarray, np.ndarray]  # steps, returns


@dataclasses.dataclass(frozen=True)
class CurvePanel:
    """Curves of one row: a name for each group, and the group's runs."""

    title: str
    groups: Mapping[str, Sequence[Curve]]
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)  # horizontal lines


def learning_curves(panels: Sequence[CurvePanel]) -> Figure:
    """One panel for each row: thin lines for runs, thick lines for the means of groups."""

    names = dict.fromkeys(name for panel in panels for name in (*panel.groups, *panel.levels))
    colours = {name: f"C{index}" for index, name in enumerate(names)}

    def draw(axes: Any, panel: CurvePanel) -> None:
        for name, runs in panel.groups.items():
            for steps, returns in runs:
                axes.plot(steps, returns, color=colours[name], linewidth=0.5, alpha=0.5)
            whole = [run for run in runs if len(run[0]) == len(runs[0][0])]
            if whole:
                mean = np.mean([returns for _, returns in whole], axis=0)
                axes.plot(whole[0][0], mean, color=colours[name], linewidth=1.8, label=name)
        for name, level in panel.levels.items():
            axes.axhline(level, color=colours[name], linestyle="--", linewidth=1, label=name)
        axes.set_xlabel("gradient steps")
        axes.set_ylabel("return")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))

    return _grid(panels, draw, "Learning curves")


@dataclasses.dataclass(frozen=True)
class HistogramPanel:
    """Episode returns of a dataset as counts [bins] between edges [bins + 1]."""

    title: str
    counts: Sequence[int]
    edges: Sequence[float]


def histograms(panels: Sequence[HistogramPanel]) -> Figure:
    """One panel for each dataset."""

    def draw(axes: Any, panel: HistogramPanel) -> None:
        axes.stairs(panel.counts, panel.edges, fill=True, color="C2")
        axes.set_xlabel("episode return")
        axes.set_ylabel("episodes")

    return _grid(panels, draw, "Histograms of episode returns")


@dataclasses.dataclass(frozen=True)
class BarPanel:
    """One number for each part and group."""

    title: str
    parts: Sequence[str]
    groups: Mapping[str, Sequence[float]]
    unit: str
    linear_to: float | None = None  # beyond it, in both directions, the axis is logarithmic


def bars(panels: Sequence[BarPanel]) -> Figure:
    """Horizontal bars: a part's groups next to each other, the first part at the top."""

    def draw(axes: Any, panel: BarPanel) -> None:
        places, height = np.arange(len(panel.parts)), 0.8 / len(panel.groups)
        for index, (name, values) in enumerate(panel.groups.items()):
            axes.barh(places + index * height, values, height, color=f"C{index}", label=name)
        axes.set_yticks(places + 0.4 - height / 2, panel.parts)
        axes.invert_yaxis()
        axes.set_xlabel(panel.unit)
        if panel.linear_to is not None:
            axes.set_xscale("symlog", linthresh=panel.linear_to)

    most = max(len(panel.parts) * len(panel.groups) for panel in panels)
    return _grid(panels, draw, "Bars", least_height=most * BAR_HEIGHT)


@dataclasses.dataclass(frozen=True)
class ProfilePanel:
    """The share of runs above each threshold, for each group, with its interval if it has one."""

    title: str
    groups: Mapping[str, Profile]
    unit: str


def profiles(panels: Sequence[ProfilePanel]) -> Figure:
    """One curve for each group, in a band that shows its interval."""

    def draw(axes: Any, panel: ProfilePanel) -> None:
        for index, (name, profile) in enumerate(panel.groups.items()):
            colour = f"C{index}"
            axes.plot(profile.thresholds, 100 * profile.shares, color=colour, label=name)
            if profile.interval is not None:
                low, high = 100 * profile.interval
                axes.fill_between(profile.thresholds, low, high, color=colour, alpha=0.2)
        axes.set_ylim(0, 100)
        axes.set_xlabel(panel.unit)
        axes.set_ylabel("% of runs, mean over games")

    return _grid(panels, draw, "Performance profile")


@dataclasses.dataclass(frozen=True)
class SharePanel:
    """Distributions of errors: for each group, the error that a share of rows does not exceed."""

    title: str
    groups: Mapping[str, Curve]  # errors, shares in percent
    unit: str


def shares(panels: Sequence[SharePanel]) -> Figure:
    """One curve for each group, over errors on a logarithmic axis."""

    def draw(axes: Any, panel: SharePanel) -> None:
        for index, (name, (error, share)) in enumerate(panel.groups.items()):
            axes.plot(np.maximum(error, 1e-17), share, color=f"C{index}", label=name)
        axes.set_xscale("log")
        axes.set_xlabel(panel.unit)
        axes.set_ylabel("% of rows, at most")

    return _grid(panels, draw, "Error by share of rows")


def svg(figure: Figure) -> str:
    """The figure as SVG text, without a date."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _with_numbered_ids(buffer.getvalue())


def _with_numbered_ids(drawing: str) -> str:
    """The drawing with its markers and clip paths numbered in the order in which they appear.

    Matplotlib names them by hashes of unrounded coordinates, which differ from machine to machine.
    The names begin with a hash of the drawing, because a page may hold several drawings.
    """
    ids = re.compile(r"\b[mp][0-9a-f]{10}\b")
    number_of = {name: number for number, name in enumerate(dict.fromkeys(ids.findall(drawing)))}
    numbered = ids.sub(lambda name: str(number_of[name[0]]), drawing)
    prefix = hashlib.sha256(numbered.encode()).hexdigest()[:10]
    return ids.sub(lambda name: f"d{prefix}-{number_of[name[0]]}", drawing)


def _grid(
    panels: Sequence[Any],
    draw: Callable[[Any, Any], None],
    what: str,
    least_height: float = 0.0,
) -> Figure:
    """Panels in rows below their legend; the figure's label describes it, for its alt text."""
    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = min(PANEL_WIDTH, WIDTH / columns)
    height = max(least_height, min(PANEL_HEIGHT, width * PANEL_SHAPE))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows))
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)  # inches
        all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(all_axes, panels, strict=False):
            draw(axes, panel)
            axes.set_title(_in_lines(panel.title, int(width * TITLE_CHARACTERS)), fontsize=9)
            axes.tick_params(labelsize=8)
            if axes.get_xscale() == "linear":
                axes.locator_params(axis="x", nbins=5)
        for axes in all_axes[len(panels) :]:
            axes.set_axis_off()
        legend: dict[str, Any] = {}  # for all panels, whose groups may differ
        for axes in all_axes[: len(panels)]:
            handles, labels = axes.get_legend_handles_labels()
            legend.update(zip(labels, handles, strict=True))
        if legend:
            _add_legend(figure, legend)
    ends = dict.fromkeys((panels[0].title, panels[-1].title))
    figure.set_label(f"{what}: {' to '.join(ends)}")
    return figure


def _add_legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """Adds a legend above the panels, in as few lines as the figure's width allows."""
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            [*handles.values()], [*handles], loc="outside upper left", ncols=columns
        )
        figure.draw_without_rendering()
        if legend.get_window_extent().width <= figure.bbox.width or columns == 1:
            return
        legend.remove()


def _in_lines(title: str, length: int) -> str:
    """Breaks a title after spaces, slashes and hyphens, so that it is no wider than its panel."""
    lines = [""]
    for part in re.findall(r"[^ /-]*[ /-]?", title):
        if lines[-1] and len(lines[-1] + part) > length:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)
